"""A file that is whole or not there."""

import fcntl
import os
import shutil
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
            mark_in_use(file.fileno())
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(aside)
        raise
    _sync_folder(path.parent)


def mark_in_use(descriptor: int) -> bool:
    """Keep :func:`remove_left_behind` from what is open there, as long as this process has it open, or lives.

    Returns:
        False if it is in use already, or the file system has no locks
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def remove_left_behind(folder: Path, *patterns: str) -> None:
    """Remove the files and folders of these names that processes which were killed have left half-written."""
    for pattern in patterns:
        for path in folder.glob(pattern):
            with suppress(OSError):  # another process has removed it, or it cannot be removed
                _remove_unless_in_use(path)


def _remove_unless_in_use(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if not mark_in_use(descriptor):
            return
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Let the rename outlive a power cut, where the file system can promise that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
