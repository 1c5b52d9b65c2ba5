"""A model's outputs for the items of a data set: one file with a header, then all values one after the other.

Nothing in it is executed, and it is read through a memory map.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fairseq_distil.atomic_file import replace_whole
from fairseq_distil.errors import UserError

HEADER_BYTES = 4096
"""JSON, filled up with spaces; a page, so that the values are aligned."""
KIND = "fairseq_distil outputs 1"
DTYPE = np.dtype("<f4")


class OutdatedError(Exception):
    """The file is of this kind, but not of these outputs, or it is damaged; the message says in which way."""


def write_outputs(path: Path, description: Mapping[str, str], values: NDArray[np.float32]) -> None:
    """Write a file that is whole or not there; folders are made.

    Args:
        path: of the file
        description: what the values depend on, each by a name for people
        values: of all items, ``(values,)``
    """
    header = {"kind": KIND, **description, "checksum": zlib.crc32(values)}
    text = json.dumps(header).encode().ljust(HEADER_BYTES - 1) + b"\n"

    def write(file: BinaryIO) -> None:
        file.write(text)
        file.write(values)

    path.parent.mkdir(parents=True, exist_ok=True)
    replace_whole(path, write)


def open_outputs(path: Path, description: Mapping[str, str], count: int) -> NDArray[np.float32]:
    """Map a file's values ``(count,)``, read once to find damage.

    Args:
        path: of the file
        description: what :func:`write_outputs` got
        count: of the values of all items

    Raises:
        FileNotFoundError: there is none
        OutdatedError: it holds other outputs, or is damaged
        UserError: it is something else altogether
    """
    header = read_header(path)
    different = [name for name, value in description.items() if header.get(name) != value]
    if different:
        raise OutdatedError(f"of other {' and '.join(different)}")
    found, expected = path.stat().st_size, HEADER_BYTES + count * DTYPE.itemsize
    if found != expected:
        raise OutdatedError(f"damaged, for it has {found:,} bytes instead of {expected:,}")
    values = np.memmap(path, DTYPE, "r", HEADER_BYTES, (count,))
    if zlib.crc32(values) != header.get("checksum"):
        raise OutdatedError("damaged, for its values are not those of its checksum")
    return values


def read_header(path: Path) -> dict[str, Any]:
    """The description of a file.

    Raises:
        FileNotFoundError: there is none
        UserError: it is something else altogether
    """
    try:
        with open(path, "rb") as file:
            header = json.loads(file.read(HEADER_BYTES))
    except (IsADirectoryError, RecursionError, ValueError):
        header = None
    if not isinstance(header, dict) or header.get("kind") != KIND:
        raise UserError(f"{path}: not a file of stored outputs, and it is not overwritten; move it, or remove it")
    return header
