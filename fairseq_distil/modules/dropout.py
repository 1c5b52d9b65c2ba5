"""Dropout whose masks are cheap to draw on a CPU, where torch draws one number for each element."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 2**16
"""Probabilities are multiples of one over this: a random number of 64 bits decides on four elements."""


class Dropout(nn.Module):
    """Zeroes elements with ``probability`` in training, and scales the others so that the mean stays.

    On a CPU the probability is rounded to a multiple of 1/65,536, and the scale is that of the rounded one.

    Raises:
        ValueError: ``probability`` is not in [0, 1]
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        if not 0 <= probability <= 1:
            raise ValueError(f"the probability of dropout is {probability}, but must be in [0, 1]")
        self.probability = probability

    def forward(self, hidden: Tensor) -> Tensor:
        """Map a tensor of any shape to the same shape."""
        dropped_levels = round(self.probability * LEVELS)
        if not self.training or dropped_levels == 0:
            return hidden
        if hidden.device.type != "cpu" or dropped_levels == LEVELS or torch.compiler.is_compiling():
            return F.dropout(hidden, self.probability)
        return hidden * _kept(hidden.shape, dropped_levels) * (LEVELS / (LEVELS - dropped_levels))

    def extra_repr(self) -> str:
        """What ``print`` shows of it."""
        return f"probability={self.probability}"


def _kept(shape: torch.Size, dropped_levels: int) -> Tensor:
    """Boolean, of ``shape``, on the CPU: false with the probability ``dropped_levels / LEVELS``."""
    count = math.prod(shape)
    lowest = torch.iinfo(torch.int64).min
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(lowest, None)
    return bits.view(torch.int16)[:count].view(shape) >= dropped_levels - LEVELS // 2
