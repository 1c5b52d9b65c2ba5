"""Rows of a tsv file: one or two texts, and a label."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fairseq_distil.data.labelled.labels import Labels
from fairseq_distil.data.text_files import Report, read_whole_lines
from fairseq_distil.errors import UserError


class Row(NamedTuple):
    """One or two texts, and their label as :meth:`Labels.parse` gives it; None in a split without labels."""

    texts: tuple[str, ...]
    label: float | None


@dataclass(frozen=True)
class Table:
    """A tsv file. Quotation marks mean nothing in it, as in the official files of GLUE, where they do not match.

    Args:
        path: plain, .gz or .xz
        texts: names of the columns of the texts
        label: name of the label's column, None where the rows have none
        header: names of all columns where the file has no header; None for its first line
    """

    path: Path
    texts: tuple[str, ...]
    label: str | None
    header: tuple[str, ...] | None = None

    def rows(
        self, labels: Labels, skip: Callable[[], object] | None = None, report: Report | None = None
    ) -> Iterator[Row]:
        """The rows, in order.

        Args:
            labels: what the labels are
            skip: called for each bad row instead of raising an error
            report: see :func:`~fairseq_distil.data.text_files.read_whole_lines`

        Raises:
            UserError: a column is missing; a row has another number of columns, an empty text or no such label
        """
        columns = self._columns()
        for number, cells in self._cells(report):
            try:
                yield self._row(cells, columns, labels)
            except UserError as error:
                if skip is None:
                    raise UserError(
                        f"{self.path}, line {number}: {error}; mend the row, or leave such rows out: --skip-bad-rows"
                    ) from None
                skip()

    def distinct_labels(self) -> list[str]:
        """Every label in the rows as it is written, sorted; whole numbers by their size."""
        columns = self._columns()
        position = columns.index(self.label)
        found = {cells[position] for _, cells in self._cells() if len(cells) == len(columns) and cells[position]}
        are_numbers = all(label.removeprefix("-").isdecimal() for label in found)
        return sorted(found, key=int if are_numbers else str)

    def _columns(self) -> tuple[str, ...]:
        columns = self.header or read_header(self.path)
        for name in (*self.texts, *([] if self.label is None else [self.label])):
            if name not in columns:
                raise UserError(f"{self.path}: has no column {name!r}, only {', '.join(map(repr, columns))}")
        return columns

    def _cells(self, report: Report | None = None) -> Iterator[tuple[int, list[str]]]:
        """Numbers of the lines, from 1, and the cells of each."""
        lines = enumerate(read_whole_lines(self.path, report), start=1)
        for number, line in lines:
            if number > 1 or self.header:
                yield number, _split(line)

    def _row(self, cells: Sequence[str], columns: Sequence[str], labels: Labels) -> Row:
        if len(cells) != len(columns):
            raise UserError(f"{len(cells)} columns, expected {len(columns)}")
        cell_of = dict(zip(columns, cells, strict=True))
        for name in self.texts:
            if not cell_of[name]:
                raise UserError(f"the text in column {name!r} is empty")
        texts = tuple(cell_of[name] for name in self.texts)
        return Row(texts, None if self.label is None else labels.parse(cell_of[self.label]))


def read_header(path: Path) -> tuple[str, ...]:
    """Names of a file's columns, from its first line.

    Raises:
        UserError: the file is missing, empty or not text
    """
    with closing(read_whole_lines(path)) as lines:
        for line in lines:
            return tuple(_split(line))
    raise UserError(f"{path}: empty; expected a header and rows")


def _split(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("\t")]
