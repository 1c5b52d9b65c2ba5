"""A file that is whole or not there."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


def write_whole(path: Path, text: str) -> None:
    """Write text aside, then rename it; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_whole(path, lambda file: file.write(text.encode()), path.with_name(f".{path.name}.partial"))


def replace_whole(path: Path, write: Callable[[BinaryIO], object], aside: Path) -> None:
    """Have a new file filled and put on the disk, and then give it the name of the old one, which stays until then.

    Args:
        path: of the file
        write: fills the new one
        aside: name of the new one in the same folder until it is whole; gone if it does not become so
    """
    try:
        with open(aside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(aside)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Let the rename outlive a power cut, where the file system can promise that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
