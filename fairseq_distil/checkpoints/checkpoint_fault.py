"""What keeps a run from going on from a checkpoint: that it is not as it was written, or is refused as it is."""

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fairseq_distil.checkpoints.atomic_saving import not_finite_in, trained_tensors
from fairseq_distil.checkpoints.checked_loading import is_old_format, load_checked
from fairseq_distil.checkpoints.load_errors import NOT_A_CHECKPOINT, explain_load_error, fault_of_the_system
from fairseq_distil.checkpoints.tensor_check import require_held
from fairseq_distil.checkpoints.zip_check import is_zip, require_plain_zip
from fairseq_distil.errors import UserError


class Fault(NamedTuple):
    """Why no run goes on from a checkpoint."""

    reason: str
    is_damage: bool
    """by the disk, or by weights that are not finite; else it is refused though nothing tells of damage"""


def fault_of(path: Path) -> Fault | None:
    """What is wrong with a checkpoint; None of one that is whole: as it was written, read by torch, and finite.

    That it is as it was written is told by the checksums of a zip file, which torch does not look at; torch also takes
    records for something else by some of the bits that describe them. Its format before 1.6 has no checksums.

    Raises:
        UserError: the disk or the memory does not let it be read, which tells nothing of the file
    """
    try:
        if (damage := _damage(path)) is not None:
            return Fault(damage, is_damage=True)
    except Exception as error:  # damage can make anything of a file
        return Fault(_reason(path, error), is_damage=True)
    try:
        name = not_finite_in(read_trained(path))
    except Exception as error:  # as above
        return Fault(_reason(path, error), is_damage=False)
    return None if name is None else Fault(f"{name} holds values that are not finite", is_damage=True)


def read_trained(path: Path) -> dict[str, Any]:
    """A checkpoint that nobody has looked at; tensors may not have the same values by so many names that all take ages.

    Raises:
        UserError: it is damaged or refused
    """
    state = load_checked(path, mmap=True)
    require_held({str(index): tensor for index, (_, tensor) in enumerate(trained_tensors(state))})
    return state


def _damage(path: Path) -> str | None:
    """In what a file differs from what torch writes, whatever that is; raises almost anything on damage."""
    if not is_zip(path):
        return None if is_old_format(path) else "it begins as no file of torch does"
    require_plain_zip(path)  # before a record is expanded
    with zipfile.ZipFile(path) as archive:
        if (name := archive.testzip()) is not None:
            return f"its record {name} has another checksum"
    torch._C.PyTorchFileReader(str(path))  # which looks at more of what describes the records
    return None


def _reason(path: Path, error: Exception) -> str:
    fault = fault_of_the_system(error)
    if fault is not None:
        raise UserError(
            f"{path}: cannot be read: {fault}; it may be whole, and stays as it is: mend that, and start again"
        ) from error
    reason = str(error) if isinstance(error, UserError) else explain_load_error(error)
    return reason.removeprefix(f"{path}: ").removeprefix(f"{NOT_A_CHECKPOINT}: ")
