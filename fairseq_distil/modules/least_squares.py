"""The linear map that comes closest."""

import torch
from torch import Tensor


def least_squares(inputs: Tensor, outputs: Tensor, ridge: float = 1e-10) -> Tensor:
    """The matrix ``(units, others)`` whose product with ``inputs`` is nearest to ``outputs``; a small one of several.

    Args:
        inputs: ``(rows, units)``, in float64
        outputs: ``(rows, others)``
        ridge: what is added to the inputs' mean square, as a part of it, so that small ones predict less
    """
    moments = inputs.T @ inputs
    diagonal = moments.diagonal()
    diagonal += ridge * diagonal.mean() + torch.finfo(inputs.dtype).tiny  # also where all are zero
    return torch.cholesky_solve(inputs.T @ outputs, torch.linalg.cholesky(moments))
