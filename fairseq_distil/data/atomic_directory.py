"""A directory that appears under its name when it is complete, or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fairseq_distil.errors import UserError


def refuse_existing(path: Path) -> None:
    """Raise a UserError if something has this name already."""
    if os.path.lexists(path):
        raise UserError(f"{path}: exists already; remove it, or choose another output")


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a new directory beside ``path`` that is renamed to it on a clean exit and removed on any other.

    After a kill that cannot be caught it stays behind, as ``.<name>.partial-...``.

    Raises:
        UserError: ``path`` exists
    """
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
    partial.mkdir()
    try:
        yield partial
        refuse_existing(path)
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
