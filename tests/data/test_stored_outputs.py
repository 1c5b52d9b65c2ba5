"""Files of outputs: what is read back, and what is not believed."""

import os
from pathlib import Path

import numpy as np
import pytest

from fairseq_distil.data.stored_outputs import HEADER_BYTES, OutdatedError, open_outputs, read_header, write_outputs
from fairseq_distil.errors import UserError

DESCRIPTION = {"teacher": "a1", "data": "b2"}
FIRST_PAGE = "^damaged, for it does not begin as it was written$"
VALUES = np.linspace(-3, 5, 13, dtype=np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "new" / "train.teacher"
    write_outputs(path, DESCRIPTION, VALUES)
    return path


def test_values_come_back_from_a_map(path: Path) -> None:
    values = open_outputs(path, DESCRIPTION, 13)
    assert isinstance(values, np.memmap) and not values.flags.writeable
    assert np.array_equal(values, VALUES)
    assert path.stat().st_size == HEADER_BYTES + 13 * 4
    assert os.listdir(path.parent) == ["train.teacher"]


def test_a_file_that_is_replaced_stays_open(path: Path) -> None:
    values = open_outputs(path, DESCRIPTION, 13)
    write_outputs(path, DESCRIPTION, VALUES + 1)
    assert np.array_equal(values, VALUES)
    assert np.array_equal(open_outputs(path, DESCRIPTION, 13), VALUES + 1)


def test_nothing_is_left_of_a_file_that_could_not_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_outputs(path, DESCRIPTION, VALUES + 1)
    assert os.listdir(path.parent) == ["train.teacher"]
    assert np.array_equal(open_outputs(path, DESCRIPTION, 13), VALUES)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"teacher": "x", "data": "b2"}, "^of other teacher$"),
        ({"teacher": "x", "data": "y"}, "^of other teacher and data$"),
        ({**DESCRIPTION, "head": "z"}, "^of other head$"),
    ],
)
def test_outdated(path: Path, description: dict[str, str], message: str) -> None:
    with pytest.raises(OutdatedError, match=message):
        open_outputs(path, description, 13)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:-1], "damaged, for it has 4,147 bytes instead of 4,148"),
        (lambda content: content + b"\0", "damaged, for it has 4,149 bytes instead of 4,148"),
        (lambda content: content[:HEADER_BYTES], "damaged, for it has 4,096 bytes"),
        (lambda content: content[:-1] + b"\x07", "damaged, for its values are not those of its checksum"),
        (lambda content: content.replace(b'"checksum"', b'"checksun"'), "not those of its checksum"),
        (lambda content: b"", FIRST_PAGE),
        (lambda content: content[:9], FIRST_PAGE),
        (lambda content: content[:60], FIRST_PAGE),
        (lambda content: bytes(HEADER_BYTES) + content[HEADER_BYTES:], FIRST_PAGE),
        (lambda content: content.replace(b'{"kind"', b'{ kind"'), FIRST_PAGE),
        (lambda content: content.replace(b"outputs 1", b"outputs 2"), FIRST_PAGE),
        (lambda content: bytes(50) + content[50:], FIRST_PAGE),
        (lambda content: content[:60] + b"\xff" * 2000, FIRST_PAGE),
    ],
)
def test_damaged(path: Path, change, message: str) -> None:
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(OutdatedError, match=message):
        open_outputs(path, DESCRIPTION, 13)


@pytest.mark.parametrize(
    "content",
    [b"text", b"[1]", b"{}", b'{"kind": 1}', b"[" * 5000, b"\xff" * 9, b'{"kind": "else", "data": 0}'],
    ids=str,
)
def test_something_else_is_not_overwritten(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for read in (read_header, lambda path: open_outputs(path, DESCRIPTION, 13)):
        with pytest.raises(UserError, match=f"^{path}: not a file of stored outputs, and it is not overwritten"):
            read(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        open_outputs(path, DESCRIPTION, 13)
    path.symlink_to(path.with_name("nowhere"))
    with pytest.raises(UserError, match=f"^{path}: a link to a file that is not there; remove it"):
        open_outputs(path, DESCRIPTION, 13)
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="not a file of stored outputs"):
        open_outputs(path, DESCRIPTION, 13)
