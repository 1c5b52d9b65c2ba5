"""A directory that appears under its name when it is complete, or not at all."""

import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fairseq_distil.atomic_file import keep, remove_left_behind
from fairseq_distil.errors import UserError


def refuse_existing(path: Path) -> None:
    """Raise a UserError if something has this name already."""
    if os.path.lexists(path):
        raise UserError(f"{path}: exists already; remove it, or choose another output")


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a new directory beside ``path`` that is renamed to it on a clean exit and removed on any other.

    After a kill that cannot be caught it stays behind, as ``.<name>.partial-...``, until the next call.

    Raises:
        UserError: ``path`` exists
    """
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_left_behind(path.parent, f".{glob.escape(path.name)}.partial-*")
    partial, descriptor = _make_aside(path)
    try:
        yield partial
        refuse_existing(path)
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        os.close(descriptor)


def _make_aside(path: Path) -> tuple[Path, int]:
    while True:
        partial = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
        partial.mkdir()
        with suppress(FileNotFoundError):  # taken for left behind, and removed
            descriptor = os.open(partial, os.O_RDONLY)
            if keep(partial, descriptor):
                return partial, descriptor
            os.close(descriptor)
