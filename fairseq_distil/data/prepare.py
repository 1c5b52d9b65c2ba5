"""Corpora to a directory that fairseq trains from: binary splits, ``dict.txt`` and the tokeniser's files."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from fairseq.data import Dictionary
from tqdm import tqdm

from fairseq_distil.data.atomic_directory import atomic_directory
from fairseq_distil.data.binarize import EncodedLines, LineEncoder, SplitStatistics, binarize
from fairseq_distil.data.corpus import Corpus
from fairseq_distil.data.symbol_dictionary import build_dictionary
from fairseq_distil.data.tokenizers import Tokenizer
from fairseq_distil.data.worker_pool import ordered_map
from fairseq_distil.errors import UserError

TRAIN = "train"


def prepare(
    corpora: Mapping[str, Corpus],
    total_lines: int,
    make_tokenizer: Callable[[Path], Tokenizer],
    output: Path,
    workers: int,
    dictionary_file: Path | None = None,
) -> str:
    """Write the output directory, all of it or nothing.

    Args:
        corpora: by the name of the split; the counts of ``train`` go into ``dict.txt``
        total_lines: text lines in all splits together, for the progress bar
        make_tokenizer: called with the directory in the making, for a tokeniser that is trained there
        output: the directory, which must not exist
        workers: processes that encode; the output does not depend on it
        dictionary_file: a ``dict.txt`` whose symbols and order are taken over

    Returns:
        one line that sums up what was written

    Raises:
        UserError: something is wrong with the output, a corpus, the tokeniser or the dictionary
    """
    start = time.monotonic()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the workers are the parallelism
    with atomic_directory(output) as directory:
        tokenizer = make_tokenizer(directory)
        dictionary = build_dictionary(tokenizer, dictionary_file)
        statistics = _binarize_splits(
            corpora, total_lines, directory, LineEncoder(tokenizer, dictionary), dictionary, workers
        )
        _save_dictionary(dictionary, statistics[TRAIN].counts, directory / "dict.txt")
        tokenizer.save(directory)
    return _summary(output, dictionary, statistics, time.monotonic() - start)


def _binarize_splits(
    corpora: Mapping[str, Corpus],
    total_lines: int,
    directory: Path,
    encoder: LineEncoder,
    dictionary: Dictionary,
    workers: int,
) -> dict[str, SplitStatistics]:
    statistics = {split: SplitStatistics(dictionary) for split in corpora}
    with ordered_map(encoder, workers) as encode_chunks, ProgressBar(total_lines) as progress:
        for split, corpus in corpora.items():
            binarize(corpus.lines(), directory / split, encoder.dtype, encode_chunks, statistics[split], progress.add)
            if statistics[split].lines == 0:
                raise UserError(f"{split}: the tokeniser leaves nothing of its text; check the tokeniser and the text")
    return statistics


class ProgressBar:
    """Lines done of all, and tokens a second; on a terminal only."""

    def __init__(self, total_lines: int) -> None:
        self._bar = tqdm(total=total_lines, unit=" lines", unit_scale=True, disable=None)
        self._start = time.monotonic()
        self._tokens = 0

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def add(self, encoded: EncodedLines) -> None:
        """Count one more chunk."""
        self._tokens += len(encoded.ids)
        tokens_per_second = self._tokens / max(time.monotonic() - self._start, 1e-9)
        self._bar.set_postfix_str(f"{tokens_per_second:,.0f} tokens/s", refresh=False)
        self._bar.update(int(np.count_nonzero(encoded.sizes > 1)))


def _save_dictionary(dictionary: Dictionary, counts: np.ndarray, path: Path) -> None:
    dictionary.count = counts.tolist()
    with path.open("w", encoding="utf-8", newline="\n") as file:
        dictionary.save(file)


def _summary(output: Path, dictionary: Dictionary, statistics: Mapping[str, SplitStatistics], seconds: float) -> str:
    splits = [
        f"{split} {split_statistics.documents:,} documents {split_statistics.lines:,} lines "
        f"{split_statistics.tokens:,} tokens {split_statistics.unknown_rate:.3%} unknown"
        for split, split_statistics in statistics.items()
    ]
    symbols = len(dictionary) + 1  # <mask>
    return " | ".join([f"{output}: {symbols:,} symbols with <mask>", *splits, f"{seconds:.1f} seconds"])
