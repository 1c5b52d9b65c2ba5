"""What scripts/prepare_data.py does with its options."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from fairseq_distil.data.atomic_directory import refuse_existing
from fairseq_distil.data.corpus import Corpus, CorpusSize, measure, split_documents
from fairseq_distil.data.exit_status import exit_status
from fairseq_distil.data.prepare import TRAIN, prepare
from fairseq_distil.data.prepare_options import parse_options
from fairseq_distil.data.text_files import require_text_file
from fairseq_distil.data.tokenizers import GPT2BPETokenizer, SentencePieceTokenizer, Tokenizer, WordPieceTokenizer
from fairseq_distil.data.tokenizers.sentencepiece import MODEL_FILE
from fairseq_distil.data.tokenizers.sentencepiece_training import SentencePieceTraining


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; a mistake of the user is one line on stderr and exit status 2."""
    return exit_status(lambda: print(_run(parse_options(arguments))))


def _run(options: argparse.Namespace) -> str:
    refuse_existing(options.output)
    # What can be wrong at a glance is found before the text is read, which may take long.
    for path in (*options.input, *(options.valid or ()), *(options.test or ())):
        require_text_file(path)
    tokenizer = _given_tokenizer(options)
    corpora, total_lines = _corpora(options)

    def make_tokenizer(directory: Path) -> Tokenizer:
        return tokenizer or _train_sentencepiece(options, corpora[TRAIN], directory)

    return prepare(corpora, total_lines, make_tokenizer, options.output, options.workers, options.dictionary)


def _corpora(options: argparse.Namespace) -> tuple[dict[str, Corpus], int]:
    _say("checking the text")
    size = _measured(options.input)
    if options.valid:
        corpora = {TRAIN: Corpus(options.input), "valid": Corpus(options.valid)}
    else:
        train, valid = split_documents(options.input, options.valid_fraction, size.documents, options.seed)
        corpora = {TRAIN: train, "valid": valid}
    if options.test:
        corpora["test"] = Corpus(options.test)
    other_sizes = [_measured(paths) for paths in (options.valid, options.test) if paths]
    return corpora, sum((other.lines for other in other_sizes), size.lines)


def _measured(paths: Sequence[Path]) -> CorpusSize:
    total_bytes = sum(path.stat().st_size for path in paths)
    with tqdm(total=total_bytes, unit="B", unit_scale=True, disable=None) as bar:
        return measure(paths, bar.update)


def _given_tokenizer(options: argparse.Namespace) -> Tokenizer | None:
    if options.tokenizer == WordPieceTokenizer.kind:
        return WordPieceTokenizer(options.vocab, None if options.cased is None else not options.cased)
    if options.tokenizer == GPT2BPETokenizer.kind:
        return GPT2BPETokenizer(options.encoder_json, options.vocab_bpe)
    return SentencePieceTokenizer(options.sentencepiece_model) if options.sentencepiece_model else None


def _train_sentencepiece(options: argparse.Namespace, corpus: Corpus, directory: Path) -> Tokenizer:
    names = {
        "vocab_size": "vocabulary_size",
        "sentencepiece_type": "model_type",
        "character_coverage": "character_coverage",
        "sentencepiece_sample_lines": "sample_lines",
    }
    given = {name: getattr(options, option) for option, name in names.items() if getattr(options, option) is not None}
    _say("drawing lines for SentencePiece")
    text_lines = filter(None, corpus.lines())
    SentencePieceTraining(**given, seed=options.seed).train(
        text_lines, directory / MODEL_FILE, lambda lines: _say(f"training SentencePiece on {lines:,} lines ...")
    )
    return SentencePieceTokenizer(directory / MODEL_FILE)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
