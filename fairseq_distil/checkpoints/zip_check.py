"""Whether a checkpoint is stored as torch stores it, before torch makes room for what it claims to hold."""

import os
import struct
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from fairseq_distil.checkpoints.load_errors import NOT_A_CHECKPOINT
from fairseq_distil.errors import UserError

FIRST_BYTES = b"PK\x03\x04"
"""By which torch tells a zip file from the pickles of its old versions."""
ENCRYPTED = 1
END = struct.Struct("<4s4H2LH")
"""The end record: signature, two numbers of disks, entries of this one and of all, size, place, length of a comment."""
LOCATOR = struct.Struct("<4sLQL")
"""Signature, disk and place of the 64-bit end record, disks."""
END_64 = struct.Struct("<4sQ2H2L4Q")
"""Signature, length of the rest, two versions, then as in the end record."""
OF_END_64 = (0xFFFF, 0xFFFFFFFF)
"""What stands in the end record for numbers that are in the 64-bit one."""


def require_plain_zip(path: Path | str) -> None:
    """Check that no record of a zip file is compressed, and that all together are no larger than the file.

    torch decompresses what others compressed, so that a small file could fill the memory. What torch does not take for
    a zip file passes. What it does, and Python cannot read, is refused: torch is the less strict of the two. So is a
    file in which the two could find different directories of records.

    Raises:
        UserError: a record is compressed, shares its bytes with another, or is not described as torch describes it
    """
    if not is_zip(path):
        return
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            records = archive.infolist()
            is_only = _entries_of_directory_before_end(file) == len(records)
    except Exception as error:  # zipfile raises many kinds on a damaged directory
        reason = f"its directory of records cannot be read: {error}"
        raise UserError(f"{path}: {NOT_A_CHECKPOINT}: {reason}") from error
    if not is_only or len({record.filename.casefold() for record in records}) < len(records):
        raise UserError(f"{path}: {NOT_A_CHECKPOINT}: it has several directories of records, or records of one name")
    if not all(map(is_plain, records)):
        raise UserError(f"{path}: {NOT_A_CHECKPOINT}: a record is compressed, or not described as torch does")
    if sum(record.file_size for record in records) > os.path.getsize(path):
        raise UserError(f"{path}: {NOT_A_CHECKPOINT}: its records claim more bytes than the file has")
    in_order = sorted(records, key=lambda record: record.header_offset)
    if any(first.header_offset + first.file_size > second.header_offset for first, second in pairwise(in_order)):
        raise UserError(f"{path}: {NOT_A_CHECKPOINT}: its records share bytes")


def is_zip(path: Path | str) -> bool:
    """Whether torch takes it for a zip file."""
    with open(path, "rb") as file:
        return file.read(len(FIRST_BYTES)) == FIRST_BYTES


def is_plain(record: zipfile.ZipInfo) -> bool:
    """Whether a record is described as torch writes it: stored, and no directory, of which it would read nothing."""
    has_attributes = record.external_attr or record.internal_attr or record.flag_bits & ENCRYPTED
    is_stored = record.compress_type == zipfile.ZIP_STORED and record.compress_size == record.file_size
    return is_stored and not has_attributes


def _entries_of_directory_before_end(file: BinaryIO) -> int | None:
    """Number of entries of the directory that ends where the end records begin, if these say that it is there.

    torch believes the records, and Python looks before them.
    """
    end = file.seek(-END.size, os.SEEK_END)
    signature, *numbers, comment = END.unpack(file.read(END.size))
    if signature != b"PK\x05\x06" or comment:
        return None
    file.seek(end - LOCATOR.size)
    signature, disk, place, _ = LOCATOR.unpack(file.read(LOCATOR.size))
    if signature == b"PK\x06\x07":
        end -= LOCATOR.size + END_64.size
        file.seek(end)
        signature, _, _, _, *numbers_64 = END_64.unpack(file.read(END_64.size))
        is_same = all(low in (high, *OF_END_64) for low, high in zip(numbers, numbers_64, strict=True))
        if signature != b"PK\x06\x06" or disk or place != end or not is_same:
            return None
        numbers = numbers_64
    *disks, entries, all_entries, size, place = numbers
    is_there = disks == [0, 0] and entries == all_entries and place + size == end
    return entries if is_there else None
