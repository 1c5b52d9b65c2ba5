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
START = f'{{"kind": "{KIND}", '.encode()
MARKS = (b'"fairseq_distil outputs ', b'"checksum": ')
"""Parts of a header, far from each other."""
DTYPE = np.dtype("<f4")


class OutdatedError(Exception):
    """The file is of this kind, but not of these outputs, or it is damaged; the message says in which way."""


def write_outputs(path: Path, description: Mapping[str, str], values: NDArray[Any]) -> None:
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


def open_outputs(path: Path, description: Mapping[str, str], count: int, dtype: np.dtype = DTYPE) -> NDArray[Any]:
    """Map a file's values ``(count,)``, read once to find damage.

    Args:
        path: of the file
        description: what :func:`write_outputs` got
        count: of the values of all items
        dtype: of a value, which may be a record

    Raises:
        FileNotFoundError: there is none
        OutdatedError: it holds other outputs, or is damaged
        UserError: it is something else altogether
    """
    header = read_header(path)
    different = [name for name, value in description.items() if header.get(name) != value]
    if different:
        raise OutdatedError(f"of other {' and '.join(different)}")
    found, expected = path.stat().st_size, HEADER_BYTES + count * dtype.itemsize
    if found != expected:
        raise OutdatedError(f"damaged, for it has {found:,} bytes instead of {expected:,}")
    values = np.memmap(path, dtype, "r", HEADER_BYTES, (count,))
    if zlib.crc32(values) != header.get("checksum"):
        raise OutdatedError("damaged, for its values are not those of its checksum")
    return values


def read_header(path: Path) -> dict[str, Any]:
    """The description of a file.

    Raises:
        FileNotFoundError: there is none
        OutdatedError: it is damaged
        UserError: it is something else altogether, or a link to nothing
    """
    page = b""
    try:
        with open(path, "rb") as file:
            page = file.read(HEADER_BYTES)
        header = json.loads(page)
    except FileNotFoundError:
        if path.is_symlink():
            raise UserError(f"{path}: a link to a file that is not there; remove it") from None
        raise
    except (IsADirectoryError, RecursionError, ValueError):
        header = None
    if isinstance(header, dict) and header.get("kind") == KIND:
        return header
    if path.is_file() and _was_header(page):
        raise OutdatedError("damaged, for it does not begin as it was written")
    raise UserError(f"{path}: not a file of stored outputs, and it is not overwritten; move it, or remove it")


def _was_header(page: bytes) -> bool:
    """Whether what a file begins with may be all that is left of a header, rather than somebody's data."""
    is_empty = not page.strip(b"\0 \n")
    return is_empty or START.startswith(page) or any(mark in page for mark in MARKS)
