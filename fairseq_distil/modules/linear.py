"""Linear layers whose float32 products oneDNN computes on CPUs, by a tenth faster than MKL behind ``F.linear``.

That is on AMD processors with AVX-512; products with a vocabulary are faster by two fifths.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEWEST_ROWS = 64


class Linear(nn.Linear):
    """``nn.Linear`` by :func:`linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(..., in features)`` to ``(..., out features)``."""
        return linear(input, self.weight, self.bias)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input @ weight.T + bias``, as ``F.linear``, which it is under the transforms of ``torch.func``.

    By oneDNN it has a first derivative alone; for a second one, take ``torch.func``.

    Args:
        input: ``(..., in features)``
        weight: ``(out features, in features)``
        bias: ``(out features,)``
    """
    if not _suits_onednn(input, weight, bias):
        return F.linear(input, weight, bias)
    if torch.is_grad_enabled():
        return _OneDnnLinear.apply(input, weight, bias)
    return _product(input, weight, bias)


def _suits_onednn(input: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch._C._are_functorch_transforms_active():
        return False
    return (
        input.device.type == "cpu"
        and input.dtype == weight.dtype == torch.float32
        and weight.numel() > 0
        and input.size(-1) == weight.size(1)
        and (bias is None or (bias.dtype == torch.float32 and bias.shape == weight.shape[:1]))
        and _has_common_size(input.numel() // weight.size(1))
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
        and not torch.is_autocast_enabled("cpu")
    )


def _has_common_size(rows: int) -> bool:
    """A power of two: oneDNN keeps memory of the size of a product for each number of rows that it has met."""
    return rows >= FEWEST_ROWS and rows & (rows - 1) == 0


def _product(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    bias = None if bias is None else bias.contiguous()  # it takes no notice of a bias's strides
    return torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")


class _OneDnnLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(input, weight)
        return _product(input, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, gradient: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        input, weight = ctx.saved_tensors
        rows = gradient.reshape(-1, weight.size(0))
        needs_input, needs_weight, needs_bias = ctx.needs_input_grad
        with torch.autocast("cpu", enabled=False):  # as the forward
            return (
                _product(gradient, weight.t(), None) if needs_input else None,
                rows.t() @ input.reshape(-1, weight.size(1)) if needs_weight else None,
                rows.sum(0) if needs_bias else None,
            )
