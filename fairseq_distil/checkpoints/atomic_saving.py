"""Checkpoints that are whole and on the disk, or not there, in place of fairseq's way of writing them.

fairseq copies a new checkpoint over ``checkpoint_last.pt`` in place, so that a run that is killed in the middle of it
cannot be resumed. A write that fails for a moment, as on a full disk, it goes on with in the same file, and calls the
damaged checkpoint saved.
"""

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from fairseq import checkpoint_utils
from fairseq.file_io import PathManager
from torch import Tensor

from fairseq_distil.atomic_file import ASIDE_PATTERN, remove_left_behind, replace_whole
from fairseq_distil.checkpoints.averages import AVERAGES
from fairseq_distil.checkpoints.readable_parts import readable
from fairseq_distil.errors import UserError, chain_of

logger = logging.getLogger(__name__)

ATTEMPTS = 3
SECONDS_BETWEEN_ATTEMPTS = 2.5
TRAINED = ("model", "criterion", "last_optimizer_state")
"""What a checkpoint holds that training changes; a criterion may have weights of its own."""
POST_MORTEM = "crash.pt"
"""What fairseq's trainer writes before it ends with an error, which is to be told whether or not this succeeds.

There is none of a :class:`UserError`.
"""

_save_remotely = checkpoint_utils.torch_persistent_save
_copy_remotely = PathManager.copy


def make_checkpoints_atomic() -> None:
    """Replace the two functions by which fairseq writes and copies checkpoints."""
    checkpoint_utils.torch_persistent_save = save_atomically
    PathManager.copy = staticmethod(copy_atomically)


def save_atomically(checkpoint: Mapping[str, Any], filename: str, async_write: bool = False) -> None:
    """Write a checkpoint aside, then rename it; files that fairseq reaches through iopath are left to it.

    Raises:
        UserError: a weight or the optimiser's state is not finite, or the file cannot be written; one of that name
            stays as it was
    """
    is_post_mortem = os.path.basename(filename) == POST_MORTEM
    if is_post_mortem and isinstance(sys.exception(), UserError):
        logger.info("%s: not written, for the run ends with a line that tells what to do", filename)
        return
    parts = {name: checkpoint[name] for name in (*TRAINED, "extra_state") if name in checkpoint}
    checkpoint = {**checkpoint, **readable(parts)}
    try:
        _require_finite(checkpoint, filename)
        if async_write or not PathManager.supports_rename(filename):
            _save_remotely(checkpoint, filename, async_write)
        else:
            _replace(filename, partial(torch.save, checkpoint))
    except UserError as error:
        if not is_post_mortem:
            raise
        logger.warning("%s", error)


def copy_atomically(source_path: str, destination_path: str, overwrite: bool = False) -> bool:
    """Copy beside the destination, then rename; files that fairseq reaches through iopath are left to it.

    Raises:
        FileExistsError: the destination exists and is not to be overwritten
        UserError: the copy cannot be written; a file of that name stays as it was
    """
    if not PathManager.supports_rename(destination_path):
        return _copy_remotely(source_path, destination_path, overwrite)
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
    remove_left_behind(folder, f"checkpoint*.pt*{ASIDE_PATTERN}", f"{POST_MORTEM}{ASIDE_PATTERN}")


def _require_finite(checkpoint: Mapping[str, Any], filename: str) -> None:
    name = not_finite_in(checkpoint)
    if name is not None:
        raise UserError(
            f"{filename}: not written, for {name} holds values that are not finite; what was saved before stays as it "
            "is: lower the learning rate or --clip-norm, and start again"
        )


def not_finite_in(checkpoint: Mapping[str, Any]) -> str | None:
    """Name of something in a checkpoint that training changes and that is not finite, if there is any."""
    for name, tensor in trained_tensors(checkpoint):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            return name
    return None


def trained_tensors(checkpoint: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """What training changes, in dictionaries of dictionaries: each tensor once, with one of its paths.

    Where each level holds the one below it twice, thirty levels have a billion paths.
    """
    extra = checkpoint.get("extra_state")
    averages = extra if isinstance(extra, Mapping) else {}
    unread = [(f"extra_state.{part}", averages.get(part)) for part in reversed(AVERAGES)]
    unread += [(part, checkpoint.get(part)) for part in reversed(TRAINED)]
    seen = set()
    while unread:
        name, value = unread.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if torch.is_tensor(value):
            yield name, value
        elif isinstance(value, Mapping):
            unread += [(f"{name}.{key}", part) for key, part in reversed(value.items())]


def _replace(path: str, write: Callable[[BinaryIO], object]) -> None:
    """Let ``write`` fill a new file, each attempt from its beginning, and give it the name of the old one."""
    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            replace_whole(Path(path), write)
            return
        except (OSError, RuntimeError) as error:
            reason = _reason(error)
            if reason is None:
                raise
            if not attempts_left:
                raise UserError(
                    f"{path}: not written: {reason}; what was saved before stays as it is: make room or mend it, and "
                    "start again"
                ) from error
            logger.warning("%s: not written: %s; trying again", path, reason)
            time.sleep(SECONDS_BETWEEN_ATTEMPTS)


def _reason(error: Exception) -> str | None:
    """What the disk did, which torch hides behind an error of its own; None of any other error."""
    for link in chain_of(error):
        if not isinstance(link, Exception):
            raise link  # Ctrl-C
        if isinstance(link, OSError):
            return link.strerror or str(link) or type(link).__name__
    return None
