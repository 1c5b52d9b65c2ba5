"""A file that is whole or not there."""

import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

ASIDE = ".tmp"
"""At the end of the name of a file that is not whole yet."""
ASIDE_PATTERN = f".{'[0-9a-f]' * 8}{ASIDE}"
"""What :func:`replace_whole` appends to a name."""


def write_whole(path: Path, text: str) -> None:
    """Write text aside, then rename it; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_whole(path, lambda file: file.write(text.encode()))


def replace_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Have a new file filled and put on the disk, and then give it the name of the old one, which stays until then.

    Until it is whole it has a name that no other process uses, ``<name>.<8 hexadecimal digits>.tmp``, and is gone if it
    does not become so; after a kill it stays behind until the next call.

    Args:
        path: of the file
        write: fills the new one
    """
    remove_left_behind(path.parent, f"{glob.escape(path.name)}{ASIDE_PATTERN}")
    with _open_aside(path) as file:
        try:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)  # while it is in use
        except BaseException:
            with suppress(OSError):
                os.unlink(file.name)
            raise
    _sync_folder(path.parent)


def _open_aside(path: Path) -> BinaryIO:
    while True:
        aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}{ASIDE}")
        file = open(aside, "xb")  # noqa: SIM115  the caller closes it
        if keep(aside, file.fileno()):
            return file
        file.close()


def keep(path: Path, descriptor: int) -> bool:
    """Keep :func:`remove_left_behind` from what was just made, as long as this process has it open, or lives.

    Args:
        path: a name that no other process uses
        descriptor: of what was opened there

    Returns:
        False if it was removed before it was locked
    """
    with suppress(OSError):  # the file system has no locks, and nothing is removed
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return path.exists()


def remove_left_behind(folder: Path, *patterns: str) -> None:
    """Remove the files and folders of these names that processes which were killed have left half-written."""
    for pattern in patterns:
        for path in folder.glob(pattern):
            with suppress(OSError):  # another process has removed it, or it cannot be removed
                _remove_unless_in_use(path)


def _remove_unless_in_use(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
