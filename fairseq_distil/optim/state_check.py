"""Whether what a checkpoint holds of an optimiser is the state of this one, of its parameters and settings."""

import math
from typing import Any, Dict, List, Optional, Tuple

import torch
from fairseq.optim import FairseqOptimizer
from fairseq.optim.adam import Adam
from torch import Tensor

from fairseq_distil.checkpoints.pickle_parts import is_without_gaps
from fairseq_distil.checkpoints.training_state import is_number
from fairseq_distil.errors import UserError

ADAMS = (torch.optim.Adam, torch.optim.AdamW, Adam)
ADVICE = "start with --reset-optimizer (checkpoint.reset_optimizer)"

_load_state_dict = FairseqOptimizer.load_state_dict


def make_optimizer_loading_safe() -> None:
    """Replace the function by which all of fairseq's optimisers come to load a state."""
    FairseqOptimizer.load_state_dict = load_state_dict


def load_state_dict(
    optimizer: FairseqOptimizer, state_dict: Dict[str, Any], optimizer_overrides: Optional[Dict[str, Any]] = None
) -> None:
    """What fairseq's method of this name does.

    Raises:
        UserError: the state is not that of these parameters
    """
    require_fitting(optimizer.optimizer, state_dict)
    _load_state_dict(optimizer, state_dict, optimizer_overrides)


def require_fitting(optimizer: torch.optim.Optimizer, state_dict: Dict[str, Any]) -> None:
    """Check groups and shapes, which optimisers believe: torch's kernels read and write beyond smaller tensors.

    Raises:
        UserError: the state is not that of these parameters
    """
    groups = state_dict.get("param_groups")
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        raise UserError(f"the optimiser's state has no groups of parameters; {ADVICE}")
    sizes = [len(group["params"]) for group in optimizer.param_groups]
    found = [len(group["params"]) if isinstance(group.get("params"), list) else 0 for group in groups]
    if found != sizes:
        raise UserError(
            f"the optimiser's state is of groups of {found} parameters, but there are {sizes}: its run trained others, "
            "such as those that another objective reads; give its settings, begin a new run from it (--pretrained, "
            "model.pretrained), or start with --reset-optimizer (checkpoint.reset_optimizer), which counts from 0 on"
        )
    count = 0
    for own, stored in zip(optimizer.param_groups, groups, strict=True):
        numbers = range(count, count := count + len(own["params"]))
        if not all(type(index) is int for index in stored["params"]) or stored["params"] != list(numbers):
            raise UserError(f"the optimiser's state does not number its parameters from 0 on; {ADVICE}")
        _require_settings(own, stored)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, values in state_dict["state"].items():
        if type(index) is not int or index not in range(len(parameters)):
            raise UserError(f"the optimiser's state has a parameter {index!r}, but there are {len(parameters)}")
        _require_values(optimizer, index, values, parameters[index].shape)
    _require_own_values(state_dict["state"])


def _require_own_values(state: Dict[int, Dict[str, Any]]) -> None:
    """An update in place writes as many values as a tensor claims, and into no other tensor."""
    owned = set()
    for index, values in state.items():
        for name, tensor in values.items():
            if not isinstance(tensor, Tensor):
                continue
            if tensor.requires_grad:
                raise UserError(
                    f"the optimiser's state of parameter {index} does not fit: its {name} is a parameter itself, which "
                    f"an update cannot change in place; {ADVICE}"
                )
            if not _holds_its_values(tensor) or (place := tensor.untyped_storage().data_ptr()) in owned:
                raise UserError(
                    f"the optimiser's state of parameter {index} does not fit: its {name} shares values with another, "
                    f"or claims more than it holds; {ADVICE}"
                )
            if tensor.numel():
                owned.add(place)


def _holds_its_values(tensor: Tensor) -> bool:
    if tensor.layout != torch.strided or tensor.is_meta:
        return False
    end = (tensor.storage_offset() + tensor.numel()) * tensor.element_size()
    is_whole = tensor.numel() == 0 or is_without_gaps(tensor.shape, tensor.stride())
    return is_whole and end <= tensor.untyped_storage().nbytes()


def _require_settings(own: Dict[str, Any], stored: Dict[str, Any]) -> None:
    """Numbers are stored as numbers; anything else, such as the choice of a kernel, is the same, or left out."""
    for name, value in own.items():
        if name == "params":
            continue
        if _numbers(value) is not None:
            numbers = _numbers(stored.get(name))
            is_fitting = numbers is not None and len(numbers) == len(_numbers(value))
        else:
            other = stored.get(name, value)
            is_fitting = type(other) is type(value) and other == value
        if not is_fitting:
            raise UserError(f"the optimiser's state has a setting {name} that does not fit, expected {value}; {ADVICE}")


def _numbers(setting: Any) -> Optional[Tuple[float, ...]]:
    """The finite numbers that a setting consists of, or None if it consists of anything else."""
    values: List[Any] = list(setting) if isinstance(setting, tuple | list) else [setting]
    if not all(is_number(value) and math.isfinite(value) for value in values):
        return None
    return tuple(map(float, values))


def _require_values(optimizer: torch.optim.Optimizer, index: int, values: Dict[str, Any], shape: torch.Size) -> None:
    if isinstance(optimizer, ADAMS):
        _require_adams_values(isinstance(optimizer, Adam), index, values, shape)
        return
    shapes = (torch.Size(), shape, shape[:-1], shape[:-2] + shape[-1:])  # the last two are Adafactor's
    for name, value in values.items():
        if not (value is None or is_number(value) or _is_floating(value, shapes)):
            raise _misfit(index, name, f"number, or tensor of shape {tuple(shape)}")


def _require_adams_values(is_fairseqs: bool, index: int, values: Dict[str, Any], shape: torch.Size) -> None:
    names = {"exp_avg", "exp_avg_sq"} | ({"max_exp_avg_sq"} & values.keys())
    for name in sorted(names):
        if not _is_floating(values.get(name), (shape,)):
            raise _misfit(index, name, f"tensor of shape {tuple(shape)}")
    step = values.get("step")
    if not is_number(step) or not step >= 0 or not (is_fairseqs or _is_floating(step, (torch.Size(),))):
        raise _misfit(index, "step", "count" if is_fairseqs else "tensor of shape ()")


def _is_floating(value: Any, shapes: Tuple[torch.Size, ...]) -> bool:
    return isinstance(value, Tensor) and value.shape in shapes and value.is_floating_point()


def _misfit(index: int, name: Any, expected: str) -> UserError:
    return UserError(f"the optimiser's state of parameter {index} does not fit: its {name} is no {expected}; {ADVICE}")
