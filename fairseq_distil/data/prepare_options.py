"""The command line of scripts/prepare_data.py, and which options exclude each other."""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from fairseq_distil.data.tokenizers import GPT2BPETokenizer, SentencePieceTokenizer, WordPieceTokenizer
from fairseq_distil.errors import UserError

DEFAULT_VALID_FRACTION = 0.01

TRAINING_OPTIONS = ("vocab_size", "sentencepiece_type", "character_coverage", "sentencepiece_sample_lines")
OPTIONS_OF_TOKENIZER = {
    SentencePieceTokenizer.kind: ("sentencepiece_model", *TRAINING_OPTIONS),
    WordPieceTokenizer.kind: ("vocab", "cased"),
    GPT2BPETokenizer.kind: ("encoder_json", "vocab_bpe"),
}

DESCRIPTION = """Text to the binary data that fairseq trains from.

Text is UTF-8, plain, .gz or .xz: one passage a line, blank lines between documents."""


class OneLineErrorParser(argparse.ArgumentParser):
    """An argument parser that raises a UserError instead of printing its usage."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help")


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options, checked against each other.

    Raises:
        UserError: an option is missing, out of range, or contradicts another
    """
    options = _parser().parse_args(arguments)
    _check_tokenizer_options(options)
    _check_validation_options(options)
    return options


def _parser() -> argparse.ArgumentParser:
    parser = OneLineErrorParser(
        description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    data = parser.add_argument_group("data")
    data.add_argument("--input", nargs="+", type=Path, required=True, metavar="FILE", help="training text")
    data.add_argument("--valid", nargs="+", type=Path, metavar="FILE", help="validation text")
    data.add_argument("--test", nargs="+", type=Path, metavar="FILE", help="test text")
    data.add_argument(
        "--valid-fraction",
        type=_fraction,
        help=f"without --valid: probability of an input document to be held out (default: {DEFAULT_VALID_FRACTION})",
    )
    data.add_argument("--output", type=Path, required=True, metavar="DIRECTORY", help="new directory for the result")
    data.add_argument("--seed", type=_count, default=0, help="of what is held out and sampled (default: 0)")
    data.add_argument(
        "--workers", type=_positive, default=os.cpu_count() or 1, help="processes that encode (default: all cores)"
    )
    _add_tokenizer_options(parser)
    return parser


def _add_tokenizer_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokenizer", choices=list(OPTIONS_OF_TOKENIZER), required=True)
    parser.add_argument(
        "--dictionary", type=_file, metavar="FILE", help="dict.txt of a given tokeniser whose order of symbols is kept"
    )
    sentencepiece = parser.add_argument_group("--tokenizer sentencepiece, trained on the input or given")
    sentencepiece.add_argument("--vocab-size", type=_positive, help="symbols in all, special ones included")
    sentencepiece.add_argument("--sentencepiece-type", choices=["unigram", "bpe"], help="default: unigram")
    sentencepiece.add_argument(
        "--character-coverage", type=_coverage, help="share of the text's characters with a piece (default: 0.9995)"
    )
    sentencepiece.add_argument(
        "--sentencepiece-sample-lines", type=_positive, help="lines that training samples (default: 200000)"
    )
    sentencepiece.add_argument("--sentencepiece-model", type=_file, metavar="FILE", help="a trained model")
    wordpiece = parser.add_argument_group("--tokenizer wordpiece")
    wordpiece.add_argument("--vocab", type=_file, metavar="FILE", help="BERT's vocab.txt")
    wordpiece.add_argument(
        "--cased",
        action=argparse.BooleanOptionalAction,
        help="keep case and accents (default: only where the vocabulary has upper-case letters)",
    )
    gpt2 = parser.add_argument_group("--tokenizer gpt2-bpe")
    gpt2.add_argument("--encoder-json", type=_file, metavar="FILE", help="GPT-2's encoder.json")
    gpt2.add_argument("--vocab-bpe", type=_file, metavar="FILE", help="GPT-2's vocab.bpe")


def _check_tokenizer_options(options: argparse.Namespace) -> None:
    for kind, names in OPTIONS_OF_TOKENIZER.items():
        for name in names:
            if kind != options.tokenizer and getattr(options, name) is not None:
                raise UserError(f"{_flag(name)} is for --tokenizer {kind}, not {options.tokenizer}; leave it out")
    if options.tokenizer == SentencePieceTokenizer.kind:
        _check_sentencepiece_options(options)
    elif options.tokenizer == WordPieceTokenizer.kind:
        _require(options, "vocab")
    else:
        _require(options, "encoder_json", "vocab_bpe")


def _check_sentencepiece_options(options: argparse.Namespace) -> None:
    if options.sentencepiece_model is None:
        if options.vocab_size is None:
            raise UserError("--tokenizer sentencepiece needs --vocab-size, to train, or --sentencepiece-model")
        if options.dictionary is not None:
            raise UserError("--dictionary fits no tokeniser that is yet to be trained; give --sentencepiece-model")
        return
    for name in TRAINING_OPTIONS:
        if getattr(options, name) is not None:
            raise UserError(f"{_flag(name)} is for training, but --sentencepiece-model is given; leave one out")


def _check_validation_options(options: argparse.Namespace) -> None:
    if options.valid and options.valid_fraction is not None:
        raise UserError("--valid and --valid-fraction exclude each other; leave one out")
    if options.valid_fraction is None:
        options.valid_fraction = DEFAULT_VALID_FRACTION
    train_files = {path.resolve() for path in options.input}
    for name in ("valid", "test"):
        for path in getattr(options, name) or ():
            if path.resolve() in train_files:
                raise UserError(f"{_flag(name)} {path}: is in --input too; give text that is not trained on")


def _require(options: argparse.Namespace, *names: str) -> None:
    missing = [_flag(name) for name in names if getattr(options, name) is None]
    if missing:
        raise UserError(f"--tokenizer {options.tokenizer} needs {' and '.join(missing)}")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{path}: {'not a file' if path.exists() else 'not found'}")
    return path


def _number(text: str, type_: type, is_valid: Callable[[float], bool], expected: str) -> int | float:
    try:
        value = type_(text)
    except ValueError:
        value = None
    if value is None or not is_valid(value):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected {expected}")
    return value


def _positive(text: str) -> int | float:
    return _number(text, int, lambda value: value >= 1, "a whole number of at least 1")


def _count(text: str) -> int | float:
    return _number(text, int, lambda value: 0 <= value < 2**32, "a whole number from 0 to 2^32 - 1")


def _fraction(text: str) -> int | float:
    return _number(text, float, lambda value: 0 < value < 1, "a fraction above 0 and below 1")


def _coverage(text: str) -> int | float:
    return _number(text, float, lambda value: 0 < value <= 1, "a fraction above 0, at most 1")
