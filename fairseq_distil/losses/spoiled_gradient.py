"""A loss that is not finite, whose gradients say so."""

from typing import Any

import torch
from torch import Tensor


def spoil_gradient_unless_finite(loss: Tensor) -> Tensor:
    """The loss itself, whose gradients are NaN where it is not finite, without waiting for its value.

    An infinite loss may have finite gradients. Those of all workers are summed, so that none of them makes an update
    which another one leaves out.

    Args:
        loss: of any shape
    """
    return _SpoiledByLoss.apply(loss)


class _SpoiledByLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Tensor) -> Tensor:
        ctx.save_for_backward(loss)
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (loss,) = ctx.saved_tensors
        return gradient + 0 * loss
