"""The distance of hidden states, as size and direction."""

import torch.nn.functional as F
from torch import Tensor


def mean_squared_distance(student_hidden: Tensor, teacher_hidden: Tensor) -> Tensor:
    """Sum over rows of the mean over the width of ``(student - teacher)^2``.

    The hidden-state loss of Jiao et al. (2020, TinyBERT, equation 8).

    Args:
        student_hidden: ``(rows, width)``
        teacher_hidden: ``(rows, width)``, a constant

    Returns:
        A float32 scalar.
    """
    difference = F.mse_loss(student_hidden.float(), teacher_hidden.float(), reduction="none")
    return difference.mean(-1).sum()
