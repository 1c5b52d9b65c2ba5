"""One tile of logits: the sums of both vocabulary terms, and their gradient.

On a CPU the time goes to passes over the tile, so there are few: one exponential for each distribution, and the
logits' memory becomes the gradient's.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .likeliest_words import likeliest_words

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
    teacher_logits: Tensor | None,
    targets: Tensor,
    scales: TermScales,
    needs_gradient: bool,
) -> Tensor:
    """Sums of one tile, whose logits are overwritten by their gradient.

    Args:
        student_logits: float32 ``(rows, vocab)``; becomes the gradient of
            ``scales.soft_target * soft_target + scales.mlm * mlm`` in units of ``scales.gradient_unit``
        teacher_logits: float32 ``(rows, vocab)``, or None; overwritten
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
    unit = scales.gradient_unit(teacher_logits is not None)
    mlm, masked_gradient = _mlm_term(student_logits[:masked_rows], targets, scales.mlm / unit, needs_gradient)
    soft_target = agreement = student_logits.new_zeros(())
    if teacher_logits is not None:
        agreement = first_choice.eq(teacher_logits[:masked_rows].argmax(-1)).sum()
        student_logits.mul_(1 / scales.temperature)
        teacher_logits.mul_(1 / scales.temperature)
        if scales.top_k in (None, student_logits.size(1)):
            divergence = _divergence(student_logits, teacher_logits)
        else:
            divergence = _top_k_divergence(student_logits, teacher_logits, scales.top_k)
        soft_target = scales.temperature**2 * divergence
    if needs_gradient:
        if teacher_logits is None or scales.soft_target == 0:
            student_logits.zero_()
        elif unit != scales.soft_target_factor:
            student_logits.mul_(scales.soft_target_factor / unit)
        student_logits[:masked_rows] += masked_gradient
    return torch.stack([soft_target, mlm, correct, agreement])


def _divergence(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """KL; the student's logits become ``p_student - p_teacher``, which is its gradient."""
    student_probabilities, student_largest, student_log_largest = _softmax(student_logits)
    teacher_probabilities, teacher_largest, teacher_log_largest = _softmax(teacher_logits)
    # KL = sum of p_teacher (log p_teacher - log p_student), with log p = logit - (largest logit - its log p)
    difference = torch.linalg.vecdot(teacher_probabilities, teacher_logits.sub_(student_logits))
    divergence = difference + (student_largest - teacher_largest) - (student_log_largest - teacher_log_largest)
    torch.sub(student_probabilities, teacher_probabilities, out=student_logits)
    return divergence.sum()


def _top_k_divergence(student_logits: Tensor, teacher_logits: Tensor, top_k: int) -> Tensor:
    """KL over the teacher's most likely words and any other; the student's logits become its gradient.

    Any other word is an outcome whose logit is the logarithm of the sum of exponentials of their logits: its
    probability is never one less the others', which would lose what is small. Its gradient is shared among them in
    proportion to their probabilities.
    """
    words = likeliest_words(teacher_logits, top_k)
    student_words, teacher_words = student_logits.gather(1, words), teacher_logits.gather(1, words)
    for logits in (student_logits, teacher_logits):
        logits.scatter_(1, words, -torch.inf)
    share_of_rest, student_largest, student_log_largest = _softmax(student_logits)
    student_rest = student_largest - student_log_largest
    _, teacher_largest, teacher_log_largest = _softmax(teacher_logits)  # logsumexp takes a CPU twice as long
    teacher_rest = teacher_largest - teacher_log_largest
    student = torch.cat([student_words, student_rest[:, None]], 1).log_softmax(-1)
    teacher = torch.cat([teacher_words, teacher_rest[:, None]], 1).log_softmax(-1)
    teacher_probabilities = teacher.exp()
    divergence = torch.linalg.vecdot(teacher_probabilities, teacher - student).sum()
    gradient = student.exp_().sub_(teacher_probabilities)
    torch.mul(share_of_rest, gradient[:, -1:], out=student_logits)
    student_logits.scatter_(1, words, gradient[:, :-1])
    return divergence


def _mlm_term(
    masked_logits: Tensor, targets: Tensor, scale: float, needs_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    probabilities, largest, log_largest = _softmax(masked_logits)
    cross_entropy = (largest - masked_logits.gather(1, targets[:, None])[:, 0] - log_largest).sum()
    if not needs_gradient:
        return cross_entropy, None
    # d CE / d logits = p_student - one_hot(target)
    gradient = probabilities.mul_(scale)
    gradient.scatter_add_(1, targets[:, None], gradient.new_full((targets.numel(), 1), -scale))
    return cross_entropy, gradient


def _softmax(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities ``(rows, vocab)``, and each row's largest logit and the logarithm of its probability, ``(rows,)``.

    Their difference is the logarithm of the sum of exponentials. Of huge logits it would lose the digits in which two
    distributions differ, so that the largest logits are to be subtracted from others first.
    """
    probabilities = logits.softmax(-1)
    return probabilities, logits.amax(-1), probabilities.amax(-1).log()
