"""One tile of logits: the sums of both vocabulary terms, and their gradient."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class TermScales(NamedTuple):
    """How the terms enter the total."""

    temperature: float
    """T of the soft targets"""
    soft_target: float
    """factor of the soft-target sum"""
    mlm: float
    """factor of the cross-entropy sum"""


def tile_loss(
    student_logits: Tensor,
    teacher_logits: Tensor | None,
    targets: Tensor,
    scales: TermScales,
    needs_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """Sums and gradient of one tile.

    Args:
        student_logits: float32 ``(rows, vocab)``
        teacher_logits: float32 ``(rows, vocab)``, or None
        targets: ids of the first rows ``(masked rows,)``
        scales: see :class:`TermScales`
        needs_gradient: whether to form the gradient

    Returns:
        ``(4,)``: the sums of soft-target loss, cross-entropy, correct first choices and first choices that are the
        teacher's; and the gradient of ``scales.soft_target * soft_target + scales.mlm * mlm`` with respect to the
        student's logits ``(rows, vocab)``, or None.
    """
    masked_rows = targets.numel()
    soft_target = agreement = student_logits.new_zeros(())
    gradient = None
    masked_logits = student_logits[:masked_rows]
    first_choice = masked_logits.argmax(-1)
    if teacher_logits is not None:
        agreement = first_choice.eq(teacher_logits[:masked_rows].argmax(-1)).sum()
        soft_target, gradient = _soft_target_term(student_logits, teacher_logits, scales, needs_gradient)
    mlm, masked_gradient = _mlm_term(masked_logits, targets, scales, needs_gradient)
    if gradient is None and needs_gradient:
        gradient = torch.zeros_like(student_logits)
    if needs_gradient:
        gradient[:masked_rows] += masked_gradient
    return torch.stack([soft_target, mlm, first_choice.eq(targets).sum(), agreement]), gradient


def _soft_target_term(
    student_logits: Tensor, teacher_logits: Tensor, scales: TermScales, needs_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    temperature = scales.temperature
    student_log_probabilities = (student_logits / temperature).log_softmax(-1)
    teacher_log_probabilities = (teacher_logits / temperature).log_softmax(-1)
    divergence = F.kl_div(student_log_probabilities, teacher_log_probabilities, reduction="sum", log_target=True)
    gradient = None
    if needs_gradient:
        # d (T^2 KL) / d logits = T (p_student - p_teacher)
        gradient = student_log_probabilities.exp_().sub_(teacher_log_probabilities.exp_())
        gradient *= temperature * scales.soft_target
    return temperature**2 * divergence, gradient


def _mlm_term(
    masked_logits: Tensor, targets: Tensor, scales: TermScales, needs_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    log_probabilities = masked_logits.log_softmax(-1)
    cross_entropy = F.nll_loss(log_probabilities, targets, reduction="sum")
    gradient = None
    if needs_gradient:
        # d CE / d logits = p_student - one_hot(target)
        gradient = log_probabilities.exp_().mul_(scales.mlm)
        gradient.scatter_add_(1, targets[:, None], gradient.new_full((targets.numel(), 1), -scales.mlm))
    return cross_entropy, gradient
