import copy
import zipfile
from pathlib import Path

import pytest
import torch

from fairseq_distil.checkpoints.zip_check import require_plain_zip
from fairseq_distil.errors import UserError


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.save({"weight": torch.ones(1000)}, tmp_path / "checkpoint.pt")
    return tmp_path / "checkpoint.pt"


@pytest.mark.parametrize("is_zip", [True, False])
def test_what_torch_writes_passes(tmp_path: Path, is_zip: bool) -> None:
    torch.save({"weight": torch.ones(1000)}, tmp_path / "x.pt", _use_new_zipfile_serialization=is_zip)
    require_plain_zip(tmp_path / "x.pt")


@pytest.fixture
def bomb(checkpoint: Path, tmp_path: Path) -> Path:
    """A file as small as it likes, which torch makes as large as it says."""
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(checkpoint) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for record in source.namelist():
            target.writestr(record, source.read(record))
    assert torch.load(path)["weight"].sum() == 1000  # torch takes it
    return path


def test_compressed_records(bomb: Path) -> None:
    with pytest.raises(UserError, match="bomb.pt: .*: a record is compressed, or not described as torch does"):
        require_plain_zip(bomb)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (6, 99, "zip file version 9.9"),  # the version that is needed to read a record
        (9, 8, "'utf-8' codec can't decode byte 0xff"),  # its name is said to be UTF-8, and is not
    ],
)
def test_records_that_torch_reads_but_python_does_not(bomb: Path, place: int, value: int, reason: str) -> None:
    content = bytearray(bomb.read_bytes())
    entry = content.index(b"PK\x01\x02")  # the first of the central directory
    content[entry + place] = value
    if place == 9:
        last = content.rindex(b"PK\x01\x02")
        content[last + place] = value
        content[last + 46] = 0xFF
    bomb.write_bytes(content)
    with pytest.raises(UserError, match=f"bomb.pt: .*: its directory of records cannot be read: {reason}"):
        require_plain_zip(bomb)


def test_a_record_that_is_said_to_be_a_directory(checkpoint: Path) -> None:
    """torch would read nothing, and take what is in memory for the values."""
    content = bytearray(checkpoint.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 38] |= 0x10
    checkpoint.write_bytes(content)
    with pytest.raises(UserError, match="a record is compressed, or not described as torch does"):
        require_plain_zip(checkpoint)


def test_two_records_in_one_place(checkpoint: Path) -> None:
    """Which together are no larger than the file."""
    with zipfile.ZipFile(checkpoint, "a") as archive:
        first, second = sorted(archive.infolist(), key=lambda record: record.file_size)[-2:]
        first.header_offset = second.header_offset
        archive._didModify = True
    with pytest.raises(UserError, match="its records share bytes"):
        require_plain_zip(checkpoint)


def test_records_that_share_their_bytes(checkpoint: Path, tmp_path: Path) -> None:
    """A directory that names the same bytes many times."""
    with zipfile.ZipFile(checkpoint, "a") as archive:
        largest = max(archive.infolist(), key=lambda record: record.file_size)
        for number in range(9):
            archive.filelist.append(named := copy.copy(largest))
            named.filename = f"checkpoint/data/{number + 1}"
        archive._didModify = True
    with pytest.raises(UserError, match="its records claim more bytes than the file has"):
        require_plain_zip(checkpoint)


def test_records_of_one_name(checkpoint: Path) -> None:
    """torch makes no difference between capital and small letters."""
    with zipfile.ZipFile(checkpoint, "a") as archive:
        archive.filelist.append(named := copy.copy(archive.infolist()[0]))
        named.filename = named.filename.upper()
        archive._didModify = True
    with pytest.raises(UserError, match="it has several directories of records, or records of one name"):
        require_plain_zip(checkpoint)


@pytest.mark.parametrize(
    "place", [*(-98 + field for field in (24, 32, 40, 48)), -42 + 8, *(-22 + field for field in (8, 12, 16, 20))]
)
def test_end_records_that_disagree(checkpoint: Path, place: int) -> None:
    """Entries, size and place of the directory, in the records of 64 and 32 bits, and the length of a comment."""
    content = bytearray(checkpoint.read_bytes())
    content[place] ^= 3
    checkpoint.write_bytes(content)
    with pytest.raises(UserError, match="checkpoint.pt: not a checkpoint that can be loaded safely, or damaged"):
        require_plain_zip(checkpoint)


def test_an_end_record_of_32_bits(checkpoint: Path) -> None:
    with zipfile.ZipFile(checkpoint, "a") as archive:
        archive._didModify = True
    assert b"PK\6\6" not in checkpoint.read_bytes()
    require_plain_zip(checkpoint)
    assert torch.load(checkpoint)["weight"].sum() == 1000


def test_what_comes_before_the_first_record(checkpoint: Path) -> None:
    """Python would find the records where they are now, torch where they were."""
    checkpoint.write_bytes(b"PK\3\4" + checkpoint.read_bytes())
    with pytest.raises(UserError, match="it has several directories of records"):
        require_plain_zip(checkpoint)
