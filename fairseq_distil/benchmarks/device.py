"""Where a benchmark computes."""

import os
from collections.abc import Mapping

import torch

from fairseq_distil.errors import UserError

VISIBLE = "CUDA_VISIBLE_DEVICES"


def default_device() -> str:
    """The first GPU, or the CPU where there is none."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def require_device(device: str) -> None:
    """Raise a UserError if torch cannot compute there."""
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"--device {device}: {str(error).splitlines()[0]}") from error
    if found.type not in ("cpu", "cuda") or (found.type == "cpu" and found.index is not None):
        raise UserError(f"--device {device} is not supported; use cpu or cuda")
    if found.type == "cuda":
        _require_gpu(found, torch.cuda.device_count())


def _require_gpu(device: torch.device, count: int) -> None:
    if count == 0:
        raise UserError(f"--device {device}: torch finds no GPU here; use --device cpu")
    if (device.index or 0) >= count:
        raise UserError(f"--device {device}: torch finds {count} here, of which the last is cuda:{count - 1}")


def use_device(device: str) -> None:
    """Make a GPU with a number the one that is meant where none is named, as in fairseq and in torch's counters."""
    if torch.device(device).index is not None and torch.device(device).type == "cuda":
        torch.cuda.set_device(device)


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def environment_with_one_gpu(device: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a process that is to see no other GPU: fairseq trains on all that it sees."""
    found = torch.device(device)
    if found.type != "cuda":
        return dict(environment)
    visible = environment.get(VISIBLE, "").split(",")
    index = found.index or 0
    return {**environment, VISIBLE: visible[index].strip() if any(visible) else str(index)}
