"""What the label of a row is: one of several classes, or a number."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from fairseq.data import Dictionary

from fairseq_distil.data.indexed_writer import MMapIndexedWriter
from fairseq_distil.data.tokenizers.base import SPECIAL_SYMBOLS
from fairseq_distil.errors import UserError


class Labels(ABC):
    """The kind of label that all rows of a data set have."""

    outputs: int
    """outputs of a model that predicts it: ``--num-classes``"""

    @abstractmethod
    def parse(self, text: str) -> float:
        """The number that stands for the label of a row.

        Raises:
            UserError: it is no such label
        """

    @abstractmethod
    def write(self, values: Sequence[float], split: str, directory: Path) -> None:
        """Write what :meth:`parse` gave for a split to the directory ``label``."""

    def finish(self, directory: Path) -> None:  # noqa: B027  most kinds have nothing to add
        """Write what belongs to all splits."""


class ClassLabels(Labels):
    """Classes by their names.

    Args:
        names: in the order of a model's outputs

    Raises:
        UserError: fewer than two, one of them twice, or one that fairseq uses itself
    """

    def __init__(self, names: Sequence[str]) -> None:
        if len(names) < 2 or len(set(names)) < len(names):
            raise UserError(f"expected at least two classes, each named once, found {', '.join(names) or 'none'}")
        if wrong := [name for name in names if name in SPECIAL_SYMBOLS or not name.strip()]:
            raise UserError(f"a class is called {wrong[0]!r}, which fairseq uses itself; choose another name")
        self.names = tuple(names)
        self.outputs = len(names)
        self._index = {name: index for index, name in enumerate(names)}
        self._dictionary = Dictionary()
        for name in names:
            self._dictionary.add_symbol(name, n=0)

    def __str__(self) -> str:
        return f"{self.outputs} classes ({', '.join(self.names)})"

    def parse(self, text: str) -> int:
        if text not in self._index:
            raise UserError(f"label {text!r} is unknown; expected one of {', '.join(self.names)}")
        return self._index[text]

    def write(self, values: Sequence[float], split: str, directory: Path) -> None:
        """As fairseq-preprocess does: one item a row, the class and ``</s>``."""
        ids = np.array(values, dtype=np.int64) + self._dictionary.nspecial
        for index in ids.tolist():
            self._dictionary.count[index] += 1
        items = np.column_stack([ids, np.full_like(ids, self._dictionary.eos())])
        with MMapIndexedWriter(directory / split, np.uint16) as writer:
            writer.append(items.ravel(), np.full(len(items), 2))

    def finish(self, directory: Path) -> None:
        self._dictionary.save(str(directory / "dict.txt"))


class NumberLabels(Labels):
    """Any finite number, for regression."""

    outputs = 1

    def __str__(self) -> str:
        return "regression"

    def parse(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UserError(f"label {text!r} is not a finite number, which regression needs")
        return value

    def write(self, values: Sequence[float], split: str, directory: Path) -> None:
        text = "".join(f"{value!r}\n" for value in values)
        (directory / f"{split}.label").write_text(text, encoding="ascii")
