"""One tile of logits: the sums of both vocabulary terms, and their gradient.

On a CPU the time goes to passes over the tile, so there are few: one exponential for each distribution, and the
logits' memory becomes the gradient's.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .softmax import softmax_and_normaliser
from .word_outcomes import WordOutcomes, replace_by_outcomes_gradient

MOST_UNITS = 8


class TermScales(NamedTuple):
    """How the terms enter the total."""

    temperature: float
    """T of the soft targets"""
    soft_target: float
    """factor of the soft-target sum"""
    mlm: float
    """factor of the cross-entropy sum"""
    top_k: int | None = None
    """K of the soft targets, see :func:`soft_target_loss`; None: all words"""
    teacher_weights: tuple[float, ...] = (1.0,)
    """part of each teacher in the soft targets; they add up to 1"""

    def gradient_unit(self, has_teacher: bool) -> float:
        """What a tile's gradient is to be multiplied by, which is cheaper done where it has been multiplied out.

        It is the soft targets' own factor, unless the other term would be many of these, too many for float16.
        """
        is_suitable = has_teacher and abs(self.mlm) <= MOST_UNITS * abs(self.soft_target_factor)
        return self.soft_target_factor if is_suitable and self.soft_target != 0 else 1.0

    @property
    def soft_target_factor(self) -> float:
        """Of ``p_student - p_teacher`` in the gradient."""
        return self.temperature * self.soft_target


def replace_by_gradient(
    student_logits: Tensor,
    teacher: Tensor | WordOutcomes | None,
    targets: Tensor,
    scales: TermScales,
    needs_gradient: bool,
) -> Tensor:
    """Sums of one tile, whose logits are overwritten by their gradient.

    Args:
        student_logits: float32 ``(rows, vocab)``; becomes the gradient of
            ``scales.soft_target * soft_target + scales.mlm * mlm`` in units of ``scales.gradient_unit``
        teacher: its logits, float32 ``(rows, vocab)``, which are overwritten; or its likeliest words; or None
        targets: ids of the first rows ``(masked rows,)``
        scales: see :class:`TermScales`
        needs_gradient: whether to form the gradient

    Returns:
        ``(4,)``: the sums of soft-target loss, cross-entropy, correct first choices and first choices that are the
        teacher's.
    """
    masked_rows = targets.numel()
    first_choice = student_logits[:masked_rows].argmax(-1)
    correct = first_choice.eq(targets).sum()
    unit = scales.gradient_unit(teacher is not None)
    mlm, masked_gradient = _mlm_term(student_logits[:masked_rows], targets, scales.mlm / unit, needs_gradient)
    soft_target = agreement = student_logits.new_zeros(())
    if isinstance(teacher, WordOutcomes):
        agreement = first_choice.eq(teacher.of_rows(slice(masked_rows)).first_choice()).sum()
        divergence = replace_by_outcomes_gradient(student_logits.mul_(1 / scales.temperature), teacher)
        soft_target = scales.temperature**2 * divergence
    elif teacher is not None:
        agreement = first_choice.eq(teacher[:masked_rows].argmax(-1)).sum()
        divergence = _divergence(student_logits.mul_(1 / scales.temperature), teacher.mul_(1 / scales.temperature))
        soft_target = scales.temperature**2 * divergence
    if needs_gradient:
        if teacher is None or scales.soft_target == 0:
            student_logits.zero_()
        elif unit != scales.soft_target_factor:
            student_logits.mul_(scales.soft_target_factor / unit)
        student_logits[:masked_rows] += masked_gradient
    return torch.stack([soft_target, mlm, correct, agreement])


def _divergence(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """KL; the student's logits become ``p_student - p_teacher``, which is its gradient."""
    student_probabilities, student_largest, student_log_largest = softmax_and_normaliser(student_logits)
    teacher_probabilities, teacher_largest, teacher_log_largest = softmax_and_normaliser(teacher_logits)
    # KL = sum of p_teacher (log p_teacher - log p_student), with log p = logit - (largest logit - its log p)
    difference = torch.linalg.vecdot(teacher_probabilities, teacher_logits.sub_(student_logits))
    divergence = difference + (student_largest - teacher_largest) - (student_log_largest - teacher_log_largest)
    torch.sub(student_probabilities, teacher_probabilities, out=student_logits)
    return divergence.sum()


def _mlm_term(
    masked_logits: Tensor, targets: Tensor, scale: float, needs_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    probabilities, largest, log_largest = softmax_and_normaliser(masked_logits)
    cross_entropy = (largest - masked_logits.gather(1, targets[:, None])[:, 0] - log_largest).sum()
    if not needs_gradient:
        return cross_entropy, None
    # d CE / d logits = p_student - one_hot(target)
    gradient = probabilities.mul_(scale)
    gradient.scatter_add_(1, targets[:, None], gradient.new_full((targets.numel(), 1), -scale))
    return cross_entropy, gradient
