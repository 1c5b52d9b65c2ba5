"""A split of the data: some or all of the documents of some files."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fairseq_distil.data.text_files import Report, read_documents
from fairseq_distil.errors import UserError


@dataclass(frozen=True)
class Corpus:
    """The documents of files for whose running number ``contains`` is true.

    Args:
        paths: the files, in the order of reading
        contains: whether the document of this number, counted from 0 over all files, belongs to the corpus
    """

    paths: Sequence[Path]
    contains: Callable[[int], bool] = lambda number: True

    def lines(self) -> Iterator[str]:
        """The text lines as a stream; one empty string after each document."""
        number = 0
        is_inside = self.contains(number)
        for line in read_documents(self.paths):
            if is_inside:
                yield line
            if not line:
                number += 1
                is_inside = self.contains(number)


@dataclass(frozen=True)
class CorpusSize:
    """Size of some files: documents, and lines with text."""

    documents: int
    lines: int


def measure(paths: Sequence[Path], report: Report | None = None) -> CorpusSize:
    """Read files to their ends, which finds whatever cannot be read in them, and count.

    Args:
        paths: the files
        report: called with the bytes of a file that were read since the last call

    Raises:
        UserError: a file cannot be read, or holds no text
    """
    documents = lines = 0
    for path in paths:
        lines_before = lines
        for line in read_documents([path], report):
            if line:
                lines += 1
            else:
                documents += 1
        if lines == lines_before:
            problem = "empty" if path.stat().st_size == 0 else "holds no line with text"
            raise UserError(f"{path}: {problem}; expected one passage a line and blank lines between documents")
    return CorpusSize(documents, lines)


@dataclass(frozen=True)
class HeldOutDocuments:
    """A sample of documents that depends on their numbers and the seed alone.

    At least one document is in the sample, and one is not.

    Args:
        fraction: probability of a document to be held out
        documents: how many there are, at least two
        seed: another seed gives another sample
    """

    fraction: float
    documents: int
    seed: int

    def __contains__(self, number: int) -> bool:
        first = self._hash("first") % self.documents
        if number in (first, (first + 1) % self.documents):
            return number == first
        return self._hash(number) < self.fraction * 2**64

    def _hash(self, value: int | str) -> int:
        digest = hashlib.blake2b(f"{self.seed} {value}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big")


def split_documents(paths: Sequence[Path], fraction: float, documents: int, seed: int) -> tuple[Corpus, Corpus]:
    """The training and the validation part of files.

    Raises:
        UserError: there are less than two documents
    """
    if documents < 2:
        raise UserError(
            f"{', '.join(map(str, paths))}: one document cannot be split into training and validation; "
            "put blank lines between documents, or give --valid"
        )
    held_out = HeldOutDocuments(fraction, documents, seed)
    return Corpus(paths, lambda number: number not in held_out), Corpus(paths, held_out.__contains__)
