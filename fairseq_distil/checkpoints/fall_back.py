"""Where a run goes on whose ``checkpoint_last.pt`` is damaged or gone: at the newest checkpoint that is whole."""

import logging
import os
import re
import zipfile
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path
from typing import Any

from fairseq_distil.checkpoints.atomic_saving import copy_atomically, not_finite_in, trained_tensors
from fairseq_distil.checkpoints.checked_loading import load_checked
from fairseq_distil.checkpoints.load_errors import fault_of_the_system
from fairseq_distil.checkpoints.tensor_check import require_held
from fairseq_distil.checkpoints.zip_check import require_plain_zip
from fairseq_distil.errors import UserError

logger = logging.getLogger(__name__)

DAMAGED = ".damaged"
NUMBERED = re.compile(r"checkpoint(\d+|_\d+_\d+)\.pt")
BEST = re.compile(r"checkpoint(_best|\.best_.*)\.pt")


def is_whole(path: Path) -> bool:
    """Whether every value is as it was written, by the checksums that the file holds, finite, and torch can read it.

    torch does not look at the checksums, and takes records for something else by some of the bits that describe them.

    Raises:
        UserError: the disk or the memory does not let it be read, which tells nothing of the file
    """
    try:
        require_plain_zip(path)  # before a record is expanded
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return False
        return not_finite_in(_read(path)) is None
    except Exception as error:  # damage can make anything of a file
        _require_damage(path, error)
        return False


def fall_back_if_damaged(last: Path, best_comes_first: bool = False) -> None:
    """Put the newest whole checkpoint of its folder in the place of a ``checkpoint_last.pt`` that is not whole.

    A whole one stays, unless a save was interrupted: fairseq writes the numbered and the best one before the last.
    A damaged one is kept under another name. One that is missing beside numbered ones is one that a run had no time to
    write for the first time; so is one beside the best, of a run whose first checkpoint may be that.

    Args:
        last: path of ``checkpoint_last.pt``
        best_comes_first: whether an epoch's end writes no numbered one, see ``--no-epoch-checkpoints``

    Raises:
        UserError: it is damaged, and no other is whole; or see :func:`is_whole`
    """
    is_there = last.is_file()
    if is_there and is_whole(last):
        _finish_interrupted_save(last)
        return
    newest = _newest_whole(last.parent, (NUMBERED, BEST) if is_there else (NUMBERED,))
    if newest is None and best_comes_first:
        newest = _newest_whole(last.parent, (BEST,))
    if newest is not None:
        kept = _new_name_of_damaged(last)
        state = f"damaged, and kept as {kept.name}" if is_there else "missing"
        logger.warning(
            "%s: %s; the run goes on from %s, the newest that is whole; to start from nothing instead, give another "
            "--save-dir (checkpoint.save_dir), or take all checkpoints away",
            last,
            state,
            newest.name,
        )
        if is_there:
            _keep(last, kept)
        copy_atomically(str(newest), str(last), overwrite=True)
    elif is_there:
        raise UserError(
            f"{last}: damaged, and no other checkpoint in this folder is whole; take it away to start from nothing"
        )


def _finish_interrupted_save(last: Path) -> None:
    """Only what was written after the last one, for someone may have put an older one in its place."""
    newest = _newest_whole(last.parent, (NUMBERED, BEST), more_than=_updates(last), not_before=last)
    if newest is None:
        return
    logger.warning(
        "%s: older than %s, after which a save was interrupted; the run goes on from the latter, which is whole",
        last,
        newest.name,
    )
    copy_atomically(str(newest), str(last), overwrite=True)


def _new_name_of_damaged(last: Path) -> Path:
    """One that no earlier damaged file has."""
    names = (last.with_name(f"{last.name}{DAMAGED}{number}") for number in chain([""], count(2)))
    return next(name for name in names if not name.exists())


def _keep(damaged: Path, kept: Path) -> None:
    """Give it another name, which needs no room where the disk has links."""
    try:
        os.link(damaged, kept)
    except OSError:
        copy_atomically(str(damaged), str(kept))


def _newest_whole(
    folder: Path, names: Iterable[re.Pattern[str]], more_than: int = 0, not_before: Path | None = None
) -> Path | None:
    """By updates made, for the clock may have jumped.

    Args:
        folder: of the run
        names: any of which a checkpoint has
        more_than: updates that it has made
        not_before: a file which it was not written before
    """
    named = [path for path in folder.glob("checkpoint*.pt") if any(name.fullmatch(path.name) for name in names)]
    others = [path for path in named if path.is_file()]
    if not_before is not None:
        others = [path for path in others if not _was_written_before(path, not_before)]
    for path in sorted(others, key=_updates, reverse=True):
        if _updates(path) > more_than and is_whole(path):
            return path
    return None


def _was_written_before(path: Path, other: Path) -> bool:
    """By either time: a copy may keep the one of the contents, and has a new one of the name."""
    times, other_times = path.stat(), other.stat()
    return times.st_mtime_ns < other_times.st_mtime_ns or times.st_ctime_ns < other_times.st_ctime_ns


def _updates(path: Path) -> int:
    """Updates made; 0 if the file does not tell, for it is damaged, or of something else, or cannot be read."""
    try:
        return int(_read(path)["optimizer_history"][-1]["num_updates"])
    except Exception as error:  # as above
        if fault := fault_of_the_system(error):
            logger.warning("%s: left out, for it cannot be read: %s", path, fault)
        return 0


def _read(path: Path) -> dict[str, Any]:
    """Of files that nobody has looked at; tensors may not have the same values by so many names that all take ages."""
    state = load_checked(path, mmap=True)
    require_held({str(index): tensor for index, (_, tensor) in enumerate(trained_tensors(state))})
    return state


def _require_damage(path: Path, error: Exception) -> None:
    fault = fault_of_the_system(error)
    if fault is not None:
        raise UserError(
            f"{path}: cannot be read: {fault}; it may be whole, and stays as it is: mend that, and start again"
        ) from error
