"""Outputs of a teacher in a folder that all workers share, computed where they are missing or out of date."""

import logging
import shutil
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Optional

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray

from fairseq_distil.data.stored_outputs import HEADER_BYTES, OutdatedError, open_outputs, read_header, write_outputs
from fairseq_distil.errors import UserError
from fairseq_distil.workers import act_first, gather_from_workers

logger = logging.getLogger(__name__)
SUFFIX = ".teacher"
OPTION = "--teacher-cache (model.teacher_cache)"


class Outputs(NamedTuple):
    """Of the items of a split."""

    values: NDArray[Any]
    """of all items"""
    starts: NDArray[np.int64]
    """those of item ``i`` are ``values[starts[i] : starts[i + 1]]``"""


def kept_outputs(
    path: Path,
    description: Dict[str, str],
    count: int,
    dtype: np.dtype,
    samples: int,
    compute: Callable[[], Optional[NDArray[Any]]],
) -> NDArray[Any]:
    """A file's values, mapped; all workers must call this.

    Args:
        path: of the file
        description: what the values depend on, each by a name for people
        count: of the values
        dtype: of a value
        samples: how many the values are of, for the log
        compute: gives the values on the first worker, and None on the others, which have a part in it

    Raises:
        UserError: the file is not of this kind, has no room, cannot be written, or is not found by all workers; or as
            ``compute``
    """
    values = _stored(path, description, count, dtype)
    if not all(gather_from_workers(values is not None)):
        size = HEADER_BYTES + count * dtype.itemsize
        is_first = not dist.is_initialized() or dist.get_rank() == 0
        act_first(is_first, partial(_require_room, path.parent, size))
        logger.info("teacher outputs %s: computed for %s samples, %s bytes", path, f"{samples:,}", f"{size:,}")
        computed = compute()
        act_first(is_first, partial(_write, path, description, computed))
        values = _stored(path, description, count, dtype)
    if values is None:
        raise UserError(
            f"{path}: not found by all workers, or replaced by another run; give {OPTION} a folder that all workers "
            "share, and no other run writes to"
        )
    return values


def require_folder(folder: Path) -> None:
    """Check a folder before a run has begun, rather than in its first step.

    Raises:
        UserError: it is none, holds what is no file of outputs, or holds nothing and cannot be written
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{OPTION} {folder}: not a folder; choose another")
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    for path in paths:
        with suppress(OutdatedError):  # it is computed again
            read_header(path)
    if not paths:
        require_writable(folder)


def require_writable(folder: Path) -> None:
    """Before a pass over the data, rather than after it. A cache that is whole may be in a folder to read alone."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _not_writable(folder, error) from error


def _not_writable(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"{OPTION} {folder}: the teacher's outputs cannot be written there: {error.strerror}; choose another folder"
    )


def _require_room(folder: Path, size: int) -> None:
    require_writable(folder)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError(
            f"{OPTION} {folder}: the teacher's outputs take {size:,} bytes, but {free:,} are free; take another folder"
        )


def _write(path: Path, description: Dict[str, str], values: NDArray[Any]) -> None:
    try:
        write_outputs(path, description, values)
    except OSError as error:
        raise _not_writable(path.parent, error) from error
    logger.info("teacher outputs %s: %s bytes written", path, f"{path.stat().st_size:,}")


def _stored(path: Path, description: Dict[str, str], count: int, dtype: np.dtype) -> Optional[NDArray[Any]]:
    try:
        return open_outputs(path, description, count, dtype)
    except FileNotFoundError:
        return None
    except OutdatedError as error:
        logger.warning("teacher outputs %s: %s; they are computed again", path, error)
        return None
