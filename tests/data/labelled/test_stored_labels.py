from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fairseq_distil.data.dictionary_check import load_dictionary
from fairseq_distil.data.indexed_writer import MMapIndexedWriter
from fairseq_distil.data.labelled.labels import ClassLabels
from fairseq_distil.data.labelled.stored_labels import count_numbers, read_classes
from fairseq_distil.errors import UserError

EOS = 2


def stored_classes(directory: Path, rows: Sequence[Sequence[int]], classes: int = 3) -> np.ndarray:
    """Reads rows of ids, where the classes have the ids 4, 5 and 6."""
    ClassLabels(["no", "yes", "maybe"]).finish(directory)
    with MMapIndexedWriter(directory / "train", np.uint16) as writer:
        writer.append(np.concatenate(rows), np.array([len(row) for row in rows]))
    return read_classes(str(directory / "train"), load_dictionary(str(directory / "dict.txt")), classes)


def test_classes(tmp_path: Path) -> None:
    assert stored_classes(tmp_path, [[5, EOS], [6], [4, EOS]]).tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[5, EOS], [5, 6, EOS]], "train.bin: row 1 has 2 labels, expected 1"),
        ([[EOS], [5, EOS]], "train.bin: row 0 has 0 labels, expected 1"),
        ([[5, EOS], [6, EOS]], "train.bin: the label of row 1 is 'maybe', which is not one of the 2 classes"),
        ([[5, EOS], [4, EOS], [3, EOS]], "train.bin: the label of row 2 is '<unk>', which is not one of the 2"),
        ([[5, EOS], [7, EOS]], "train.bin: holds id 7, but dict.txt ends at 6"),
    ],
)
def test_labels_that_are_no_classes(tmp_path: Path, rows: list[list[int]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        stored_classes(tmp_path, rows, classes=2)


@pytest.mark.parametrize(("content", "outputs"), [("0.5\n-2\n1e3\n", 1), ("1 2\n3 4\n5 6", 2)])
def test_numbers(tmp_path: Path, content: str, outputs: int) -> None:
    (tmp_path / "train.label").write_text(content)
    assert count_numbers(str(tmp_path / "train.label"), outputs) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"0.5\n\n", "row 1 has 0 numbers, expected 1"),
        (b"0.5\n1 2\n", "row 1 has 2 numbers, expected 1"),
        (b"0.5\r1 2\n", "row 1 has 2 numbers, expected 1"),
        (b"good\n", "row 0: label 'good' is not a finite number"),
        (b"nan\n", "row 0: label 'nan' is not a finite number"),
        (b"9" * 10**6, "row 0: label '9999.*9999' is not a finite number"),
        (b"\xef\xbb\xbf1\n", r"row 0: label '\\ufeff1' is not a finite number"),
        (b"\xff\n", "not a text of numbers"),
    ],
    ids=["nothing", "two", "other line ends", "word", "NaN", "long", "byte order mark", "bytes"],
)
def test_rows_that_are_no_number(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "train.label").write_bytes(content)
    with pytest.raises(UserError, match=f"^data {tmp_path}/train.label: {message}"):
        count_numbers(str(tmp_path / "train.label"), 1)


def test_a_folder_in_the_place_of_numbers(tmp_path: Path) -> None:
    (tmp_path / "train.label").mkdir()
    with pytest.raises(UserError, match=f"^data {tmp_path}/train.label: not a text of numbers"):
        count_numbers(str(tmp_path / "train.label"), 1)
