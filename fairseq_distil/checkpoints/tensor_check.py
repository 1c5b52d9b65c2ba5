"""Whether what a file holds is a state dict, and no more than the file holds."""

from typing import Any

import torch
from torch import Tensor

from fairseq_distil.checkpoints.load_errors import CLONE
from fairseq_distil.errors import UserError

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MOST_NAMES_OF_A_TENSOR = 4  # tied weights have several


def require_held(weights: Any) -> None:
    """Check that weights are dense tensors by their names, whose values were in the file.

    A view can claim any number of values and hold one; whoever copies it makes room for all of them.

    Raises:
        UserError: they are something else
    """
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights):
        raise UserError("not a state dict of tensors")
    for name, tensor in weights.items():
        if not is_dense(tensor):
            raise UserError(f"not a state dict of tensors: {name} is not a dense tensor with values; save it as one")
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    storages = {storage.data_ptr(): storage.nbytes() for storage in map(Tensor.untyped_storage, weights.values())}
    if claimed > MOST_NAMES_OF_A_TENSOR * (held := sum(storages.values())):
        raise UserError(f"its tensors claim {claimed:,} bytes, but it holds {held:,}; {CLONE}")


def require_held_optimizer_state(state: Any) -> None:
    """The same of what an optimiser keeps for each parameter, in the form of torch's optimisers; None: there is none.

    Raises:
        UserError: it is of another form, or claims more than the file holds
    """
    if state is None:
        return
    kept = state.get("state") if isinstance(state, dict) else None
    if not isinstance(kept, dict) or not all(isinstance(values, dict) for values in kept.values()):
        raise UserError("not a fairseq checkpoint: its last_optimizer_state is not an optimiser's")
    tensors = {
        f"{index}.{name}": value
        for index, values in kept.items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }
    if tensors:
        require_held(tensors)


def require_floating(name: str, tensor: Tensor) -> None:
    """Raise a UserError unless its values are plain floating-point numbers."""
    if tensor.dtype not in FLOATING:
        raise UserError(f"{name} is of {tensor.dtype}, but must be of floating point, in 16 bits or more")


def is_dense(tensor: Any) -> bool:
    """Whether it is a tensor with its values in memory, one after the other."""
    return (
        isinstance(tensor, Tensor)
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not (tensor.is_nested or tensor.is_quantized)
    )
