"""Where a run goes on whose ``checkpoint_last.pt`` is damaged or gone: at the newest checkpoint that is whole."""

import logging
import os
import re
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path

from fairseq_distil.checkpoints.atomic_saving import copy_atomically
from fairseq_distil.checkpoints.checkpoint_fault import Fault, fault_of, read_trained
from fairseq_distil.errors import UserError

logger = logging.getLogger(__name__)

DAMAGED = ".damaged"
NUMBERED = re.compile(r"checkpoint(\d+|_\d+_\d+)\.pt")
BEST = re.compile(r"checkpoint(_best|\.best_.*)\.pt")


def fall_back_if_damaged(last: Path, best_comes_first: bool = False) -> None:
    """Put the newest whole checkpoint of its folder in the place of a ``checkpoint_last.pt`` that is not whole.

    A whole one stays, unless a save was interrupted: fairseq writes the numbered and the best one before the last.
    A damaged one is kept under another name. One that is missing beside numbered ones is one that a run had no time to
    write for the first time; so is one beside the best, of a run whose first checkpoint may be that.

    Where no checksum tells of damage, a checkpoint that is refused or cannot be read may be whole, and the newest: the
    run ends before it writes over it, also if it is not the last one.

    Args:
        last: path of ``checkpoint_last.pt``
        best_comes_first: whether an epoch's end writes no numbered one, see ``--no-epoch-checkpoints``

    Raises:
        UserError: one is refused or cannot be read; or one is damaged, and no other is whole
    """
    if not last.is_file():
        newest = _newest_where_none_is_last(last.parent, best_comes_first)
        if newest is not None:
            _go_on_from(newest, last, "missing")
        return
    fault = fault_of(last)
    if fault is None:
        _finish_interrupted_save(last)
        return
    if not fault.is_damage:
        raise UserError(_refusal(last, fault, _what_comes_without(last, best_comes_first)))
    newest = _newest_whole(last.parent, (NUMBERED, BEST))
    if newest is None:
        raise UserError(
            f"{last}: damaged, and no other checkpoint in this folder is whole: {fault.reason}; take all of them away "
            "to start from nothing"
        )
    kept = _new_name_of_damaged(last)
    _go_on_from(newest, last, f"damaged, and kept as {kept.name}, for {fault.reason}", kept)


def _refusal(path: Path, fault: Fault, what_comes: str) -> str:
    return (
        f"{path}: refused, and stays as it is, for no checksum tells of damage: {fault.reason}; take it away to "
        f"{what_comes}"
    )


def _what_comes_without(last: Path, best_comes_first: bool) -> str:
    try:
        newest = _newest_where_none_is_last(last.parent, best_comes_first)
    except UserError:  # which the next start tells
        return "have the others looked at, of which none is whole, or one may be newer"
    return "start from nothing" if newest is None else f"go on from {newest.name}, the newest that is whole"


def _go_on_from(newest: Path, last: Path, state: str, kept: Path | None = None) -> None:
    """Tell it, and put one checkpoint in the place of another, which is kept under a new name if it is there."""
    logger.warning(
        "%s: %s; the run goes on from %s, the newest that is whole; to start from nothing instead, give another "
        "--save-dir (checkpoint.save_dir), or take all checkpoints away",
        last,
        state,
        newest.name,
    )
    if kept is not None:
        _keep(last, kept)
    copy_atomically(str(newest), str(last), overwrite=True)


def _newest_where_none_is_last(folder: Path, best_comes_first: bool) -> Path | None:
    """None where there is no other either.

    Raises:
        UserError: there is, but all are damaged; or see :func:`_newest_whole`
    """
    for name in (NUMBERED, BEST) if best_comes_first else (NUMBERED,):
        newest = _newest_whole(folder, (name,))
        if newest is not None:
            return newest
        damaged = [path.name for path in _checkpoints(folder, (name,)) if fault_of(path) is not None]
        if damaged:
            raise UserError(
                f"{folder}: has no checkpoint_last.pt, and {', '.join(sorted(damaged))} damaged; take all checkpoints "
                "away to start from nothing"
            )
    return None


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


def _checkpoints(folder: Path, names: Iterable[re.Pattern[str]]) -> list[Path]:
    """Files that have any of the names."""
    found = (path for path in folder.glob("checkpoint*.pt") if any(name.fullmatch(path.name) for name in names))
    return [path for path in found if path.is_file()]


def _newest_whole(
    folder: Path, names: Iterable[re.Pattern[str]], more_than: int = 0, not_before: Path | None = None
) -> Path | None:
    """By updates made, for the clock may have jumped.

    Args:
        folder: of the run
        names: any of which a checkpoint has
        more_than: updates that it has made
        not_before: a file which it was not written before

    Raises:
        UserError: one is refused or cannot be read, so that nobody knows whether it is the newest
    """
    others = _checkpoints(folder, names)
    if not_before is not None:
        others = [path for path in others if not _was_written_before(path, not_before)]
    made = {path: updates for path in others if (updates := _updates(path)) > more_than}
    return next((path for path in sorted(made, key=made.__getitem__, reverse=True) if fault_of(path) is None), None)


def _was_written_before(path: Path, other: Path) -> bool:
    """By either time: a copy may keep the one of the contents, and has a new one of the name; of a link, its own."""
    times, other_times = path.lstat(), other.lstat()
    return times.st_mtime_ns < other_times.st_mtime_ns or times.st_ctime_ns < other_times.st_ctime_ns


def _updates(path: Path) -> int:
    """Updates made; 0 if the file does not tell: it is damaged, or of something else.

    Raises:
        UserError: it is refused, or cannot be read
    """
    try:
        return int(read_trained(path)["optimizer_history"][-1]["num_updates"])
    except Exception:  # damage can make anything of a file
        fault = fault_of(path)
        if fault is not None and not fault.is_damage:
            raise UserError(_refusal(path, fault, "go on without it, though it may be the newest")) from None
        return 0
