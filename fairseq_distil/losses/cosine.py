"""The hidden-state term: directions of student and teacher."""

import torch.nn.functional as F
from torch import Tensor


def cosine_distance(student_hidden: Tensor, teacher_hidden: Tensor) -> Tensor:
    """Sum over rows of ``1 - cos(student, teacher)`` (L_cos of Sanh et al., 2019, section 2).

    Args:
        student_hidden: ``(rows, width)``
        teacher_hidden: ``(rows, width)``, a constant

    Returns:
        A float32 scalar.

    Raises:
        ValueError: the widths differ
    """
    if student_hidden.shape != teacher_hidden.shape:
        raise ValueError(
            f"the cosine term compares hidden states of equal width, but the student's are "
            f"{tuple(student_hidden.shape)} and the teacher's {tuple(teacher_hidden.shape)}"
        )
    return (1 - F.cosine_similarity(student_hidden.float(), teacher_hidden.float(), dim=-1)).sum()
