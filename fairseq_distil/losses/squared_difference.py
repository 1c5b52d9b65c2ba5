"""The soft-target term of regression: the teacher's numbers as they are."""

from torch import Tensor


def squared_difference(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Sum over rows of ``(student - teacher)^2``.

    Args:
        student_logits: ``(rows, 1)``
        teacher_logits: ``(rows, 1)``, a constant

    Returns:
        A float32 scalar.
    """
    return (student_logits.float() - teacher_logits.float()).square().sum()
