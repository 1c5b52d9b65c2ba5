"""Files of torch in its present and its old format: read if all that is in them is plain."""

import argparse
import collections
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fairseq_distil.checkpoints.checked_loading import load_checked
from fairseq_distil.errors import UserError

from ..limits import no_more_memory_than
from .crafted import Values, old_format, pickled, tensor, zipped

FOUR = torch.arange(4.0)
ROW = FOUR.numpy().tobytes()


@pytest.fixture
def refuse(tmp_path: Path) -> Callable[[bytes], str]:
    """Reads a file, in little memory, and returns why it is refused."""

    def refusal(content: bytes) -> str:
        path = tmp_path / "crafted.pt"
        path.write_bytes(content)
        with no_more_memory_than(2**29), pytest.raises(UserError) as error:
            load_checked(path)
        start = f"{path}: not a checkpoint that can be loaded safely, or damaged: "
        assert str(error.value).startswith(start)
        return str(error.value).removeprefix(start)

    return refusal


@pytest.mark.parametrize("is_zip", [True, False])
def test_what_torch_writes(tmp_path: Path, is_zip: bool) -> None:
    shared = torch.randn(5, 3)
    state = {
        "args": argparse.Namespace(layers=3, betas=(0.9, 0.98)),
        "model": collections.OrderedDict(
            weight=shared, tied=shared, column=shared.T, none=torch.ones(0), half=FOUR.half()
        ),
    }
    state["model"]._metadata = collections.OrderedDict({"": {"version": 1, "assign_to_params_buffers": True}})
    torch.save(state, tmp_path / "x.pt", _use_new_zipfile_serialization=is_zip)
    read = load_checked(tmp_path / "x.pt")
    assert read["args"] == state["args"] and read["model"]._metadata == state["model"]._metadata
    torch.testing.assert_close(read["model"], state["model"], rtol=0, atol=0)
    assert read["model"]["weight"].data_ptr() == read["model"]["tied"].data_ptr()


def test_crafted_files_are_those_of_torch(tmp_path: Path) -> None:
    """So that what is refused below is refused for what is wrong with it."""
    for content in (
        zipped(pickled([tensor()]), {"0": ROW}),
        old_format([tensor()], ["0"], [struct.pack("<q", 4) + ROW]),
    ):
        (tmp_path / "x.pt").write_bytes(content)
        (read,) = load_checked(tmp_path / "x.pt")
        assert torch.equal(read, FOUR)


@pytest.mark.parametrize("records", [{"0": ROW[:-4]}, {"0": ROW * 2}, {"1": ROW}, {}])
def test_records_of_another_length(refuse: Callable[[bytes], str], records: dict[str, bytes]) -> None:
    reason = refuse(zipped(pickled([tensor()]), records))
    assert reason == "its record of storage '0' is not as long as its pickle says"


@pytest.mark.parametrize(
    ("count", "keys", "storages", "reason"),
    [
        (4, [], [], "it does not list its storages"),
        (10**9, [], [], "it does not list its storages"),
        (4, ["0", "0"], [], "it does not list its storages"),
        (4, [0], [], "it does not list its storages"),
        (4, "0", [], "it does not list its storages"),
        (4, ["1"], [], "its storage '1' is not as long as its pickle says"),
        (4, ["0"], [], "its storage '0' is not as long as its pickle says"),
        (4, ["0"], [struct.pack("<q", 3) + ROW[:12]], "its storage '0' is not as long as its pickle says"),
        (10**9, ["0"], [struct.pack("<q", 10**9) + ROW], "its storages do not end where the file ends"),
        (4, ["0"], [struct.pack("<q", 4) + ROW[:-1]], "its storages do not end where the file ends"),
        (4, ["0"], [struct.pack("<q", 4) + ROW + b"x"], "its storages do not end where the file ends"),
    ],
)
def test_storages_of_the_old_format(
    refuse: Callable[[bytes], str], count: int, keys: Any, storages: list[bytes], reason: str
) -> None:
    """torch took memory as it was for the values of a storage that the file does not list."""
    content = [tensor(Values(count=count), size=(count,))]
    assert refuse(old_format(content, keys, storages)) == reason


def with_two_directories(content: bytes) -> bytes:
    """Python's is before the end record, with plain records; torch's is before that, with compressed ones."""
    end = content.rindex(b"PK\5\6")
    size, place = struct.unpack("<LL", content[end + 12 : end + 20])
    directory = bytearray(content[place : place + size])
    entry = 0
    while entry < size:
        directory[entry + 10 : entry + 12] = bytes(2)  # stored
        directory[entry + 24 : entry + 28] = directory[entry + 20 : entry + 24]  # as large as it is in the file
        directory[entry + 36 : entry + 42] = bytes(6)  # without attributes
        entry += 46 + sum(struct.unpack("<HHH", directory[entry + 28 : entry + 34]))
    return content[:end] + bytes(directory) + content[end:]


def test_a_zip_file_with_two_directories(refuse: Callable[[bytes], str], tmp_path: Path) -> None:
    count = 10**6
    (tmp_path / "source.pt").write_bytes(zipped(pickled([tensor(Values(count=count), size=(count,))]), {}))
    with zipfile.ZipFile(tmp_path / "source.pt") as source, zipfile.ZipFile(tmp_path / "bomb.pt", "w", 8) as bomb:
        names = source.namelist()
        for name in names:
            bomb.writestr(name, source.read(name))
        bomb.writestr(f"{names[0].partition('/')[0]}/data/0", bytes(4 * count))
    (tmp_path / "two.pt").write_bytes(with_two_directories((tmp_path / "bomb.pt").read_bytes()))
    assert len(torch.load(tmp_path / "two.pt")[0]) == count  # torch takes it
    reason = refuse((tmp_path / "two.pt").read_bytes())
    assert reason == "it has several directories of records, or records of one name"


def test_there_is_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_checked(tmp_path / "none.pt")
