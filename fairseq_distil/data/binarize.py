"""From lines of text to fairseq's binary data: encoding, and counting what was encoded."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import best_fitting_int_dtype

from fairseq_distil.data.indexed_writer import MMapIndexedWriter
from fairseq_distil.data.tokenizers.base import Tokenizer

CHUNK_CHARACTERS = 2**18


class EncodedLines(NamedTuple):
    """Items of a dataset: their ids one after the other ``(tokens,)``, and how many each has ``(items,)``."""

    ids: np.ndarray
    sizes: np.ndarray


class DictionaryIds:
    """Turns a tokeniser's own ids into those of a dictionary, each item closed by ``</s>``."""

    def __init__(self, tokenizer: Tokenizer, dictionary: Dictionary) -> None:
        self.dtype = best_fitting_int_dtype(len(dictionary))
        # One id more than the tokeniser has stands for the </s> that closes an item.
        self._closing_id = len(tokenizer.symbol_of_id)
        ids = [dictionary.index(symbol) for symbol in tokenizer.symbol_of_id]
        self._dictionary_id_of_id = np.array([*ids, dictionary.eos()], dtype=self.dtype)

    def __call__(self, items: list[list[int]]) -> EncodedLines:
        """The items' ids, to which the closing one is appended in place."""
        for ids in items:
            ids.append(self._closing_id)
        sizes = np.fromiter(map(len, items), dtype=np.int32, count=len(items))
        own_ids = np.fromiter(chain.from_iterable(items), dtype=np.int64, count=int(sizes.sum()))
        return EncodedLines(self._dictionary_id_of_id[own_ids], sizes)


class LineEncoder:
    """Turns lines into dictionary ids, each line closed by ``</s>``.

    An empty line, the boundary of documents, is ``</s>`` alone. A line of which the tokeniser leaves
    nothing is dropped, so that it does not read as a boundary.
    """

    def __init__(self, tokenizer: Tokenizer, dictionary: Dictionary) -> None:
        self._tokenizer = tokenizer
        self._dictionary_ids = DictionaryIds(tokenizer, dictionary)
        self.dtype = self._dictionary_ids.dtype

    def __call__(self, lines: list[str]) -> EncodedLines:
        encoded = zip(self._tokenizer.encode_ids(lines), lines, strict=True)
        return self._dictionary_ids([ids for ids, line in encoded if ids or not line])


class SplitStatistics:
    """What one split holds; ``counts`` has the occurrences of each dictionary id."""

    def __init__(self, dictionary: Dictionary) -> None:
        self.documents = 0
        self.lines = 0
        self.counts = np.zeros(len(dictionary), dtype=np.int64)
        self._unknown = dictionary.unk()

    @property
    def tokens(self) -> int:
        """Ids in the data, ``</s>`` included."""
        return int(self.counts.sum())

    @property
    def unknown_rate(self) -> float:
        """Share of ``<unk>`` in all ids."""
        return float(self.counts[self._unknown] / max(self.tokens, 1))

    def add(self, encoded: EncodedLines) -> None:
        """Count more items."""
        boundaries = int(np.count_nonzero(encoded.sizes == 1))
        self.documents += boundaries
        self.lines += len(encoded.sizes) - boundaries
        self.counts += np.bincount(encoded.ids, minlength=len(self.counts))


def binarize(
    lines: Iterable[str],
    prefix: Path,
    dtype: type[np.integer],
    encode_chunks: Callable[[Iterable[list[str]]], Iterator[EncodedLines]],
    statistics: SplitStatistics,
    report: Callable[[EncodedLines], None],
) -> None:
    """Write one split to ``<prefix>.bin`` and ``<prefix>.idx``, as a stream.

    Args:
        lines: text lines, an empty one after each document
        prefix: path of the two files without their suffixes
        dtype: of the ids in the file
        encode_chunks: a ``map`` of a :class:`LineEncoder` over lists of lines
        statistics: to which what was written is added
        report: called with each chunk once it is written
    """
    with MMapIndexedWriter(prefix, dtype) as writer:
        for encoded in encode_chunks(chunks_of_lines(lines)):
            writer.append(encoded.ids, encoded.sizes)
            statistics.add(encoded)
            report(encoded)


def chunks_of_lines(lines: Iterable[str], characters: int = CHUNK_CHARACTERS) -> Iterator[list[str]]:
    """Lists of consecutive lines of about ``characters`` characters together; a longer line is one by itself."""
    chunk: list[str] = []
    size = 0
    for line in lines:
        chunk.append(line)
        size += len(line) + 1
        if size >= characters:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
