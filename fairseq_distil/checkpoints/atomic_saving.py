"""Checkpoints that are whole and on the disk, or not there, in place of fairseq's way of writing them.

fairseq copies a new checkpoint over ``checkpoint_last.pt`` in place, so that a run that is killed in the middle of it
cannot be resumed. A write that fails for a moment, as on a full disk, it goes on with in the same file, and calls the
damaged checkpoint saved.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from fairseq import checkpoint_utils, file_io
from fairseq.file_io import PathManager

from fairseq_distil.atomic_file import remove_left_behind, replace_whole
from fairseq_distil.errors import UserError

logger = logging.getLogger(__name__)

ATTEMPTS = 3
SECONDS_BETWEEN_ATTEMPTS = 2.5
ASIDE = ".tmp"
"""At the end of the name of a checkpoint that is not whole yet."""
POST_MORTEM = "crash.pt"
"""What fairseq's trainer writes before it ends with an error, which is to be told whether or not this succeeds."""

_save_remotely = checkpoint_utils.torch_persistent_save


def make_checkpoints_atomic() -> None:
    """Replace the two functions by which fairseq writes and copies checkpoints.

    Where iopath is installed, it does the copying and stays in charge.
    """
    checkpoint_utils.torch_persistent_save = save_atomically
    if file_io.IOPathManager is None:
        PathManager.copy = staticmethod(copy_atomically)


def save_atomically(checkpoint: Mapping[str, Any], filename: str, async_write: bool = False) -> None:
    """Write a checkpoint aside, then rename it; files that fairseq reaches through iopath are left to it.

    Raises:
        UserError: the weights are not finite, or the file cannot be written; one of that name stays as it was
    """
    if async_write or not PathManager.supports_rename(filename):
        return _save_remotely(checkpoint, filename, async_write)
    try:
        for part in ("model", "criterion"):  # a criterion may have weights of its own
            _require_finite(checkpoint.get(part) or {}, filename)
        _replace(filename, partial(torch.save, checkpoint))
    except UserError as error:
        if os.path.basename(filename) != POST_MORTEM:
            raise
        logger.warning("%s", error)


def copy_atomically(source_path: str, destination_path: str, overwrite: bool = False) -> bool:
    """Copy beside the destination, then rename.

    Raises:
        FileExistsError: the destination exists and is not to be overwritten
        UserError: the copy cannot be written; a file of that name stays as it was
    """
    if not overwrite and os.path.exists(destination_path):
        raise FileExistsError(f"{destination_path} exists already")
    with open(source_path, "rb") as source:

        def write(file: BinaryIO) -> None:
            source.seek(0)
            shutil.copyfileobj(source, file)

        _replace(destination_path, write)
    return True


def remove_unfinished(folder: Path) -> None:
    """Remove the checkpoints in a folder that were not whole yet when the processes that wrote them were killed."""
    remove_left_behind(folder, f"checkpoint*.pt*{ASIDE}", f"{POST_MORTEM}{ASIDE}")


def _require_finite(weights: Mapping[str, Any], filename: str) -> None:
    for name, tensor in weights.items():
        if torch.is_tensor(tensor) and tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(
                f"{filename}: not written, for {name} holds values that are not finite; what was saved before stays "
                "as it is: lower the learning rate, and start again"
            )


def _replace(path: str, write: Callable[[BinaryIO], object]) -> None:
    """Let ``write`` fill a new file, each attempt from its beginning, and give it the name of the old one."""
    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            replace_whole(Path(path), write, Path(f"{path}{ASIDE}"))
            return
        except (OSError, RuntimeError) as error:
            reason = _reason(error)
            if not attempts_left:
                raise UserError(
                    f"{path}: not written: {reason}; what was saved before stays as it is: make room or mend it, and "
                    "start again"
                ) from error
            logger.warning("%s: not written: %s; trying again", path, reason)
            time.sleep(SECONDS_BETWEEN_ATTEMPTS)


def _reason(error: Exception) -> str:
    """The operating system's words, or else the first line; torch hides what happened behind an error of its own."""
    link: BaseException | None = error
    while link is not None:
        if not isinstance(link, Exception):
            raise link  # Ctrl-C
        if isinstance(link, OSError) and link.strerror:
            return link.strerror
        link = link.__cause__ or link.__context__
    return str(error).splitlines()[0]
