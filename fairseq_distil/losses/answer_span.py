"""Losses over the positions of a window: where an answer begins, and where it ends."""

import torch.nn.functional as F
from torch import Tensor

from fairseq_distil.losses.soft_target import soft_target_loss

UNKNOWN_POSITION = -1
"""Target of a window that has no loss: its answer is not where ``answer_start`` says."""
PADDING_LOGIT = -1e9  # its probability is 0 in float32; an infinite one would make 0 * (inf - inf) of the divergence


def answer_span_loss(logits: Tensor, targets: Tensor, is_padding: Tensor) -> Tensor:
    """Sum over windows of the mean of two cross-entropies, of the first and of the last token of the answer.

    As DistilBERT's head for question answering, but padding is no possible position: the loss of a window does not
    depend on its batch.

    Args:
        logits: ``(windows, length, 2)``
        targets: positions ``(windows, 2)``; ``UNKNOWN_POSITION`` counts nothing
        is_padding: ``(windows, length)``, boolean

    Returns:
        A float32 scalar.
    """
    rows = _position_logits(logits, is_padding)
    return F.cross_entropy(rows, targets.flatten(), reduction="sum", ignore_index=UNKNOWN_POSITION) / 2


def answer_span_soft_target_loss(
    student_logits: Tensor, teacher_logits: Tensor, is_padding: Tensor, temperature: float
) -> Tensor:
    """Sum over windows of the mean of ``T^2 KL(teacher || student)`` over first tokens and over last tokens.

    The second stage of Sanh et al. (2019), section 3, as their ``run_squad_w_distillation.py`` computes it, but
    without padding in either distribution.

    Args:
        student_logits: ``(windows, length, 2)``
        teacher_logits: ``(windows, length, 2)``, a constant
        is_padding: ``(windows, length)``, boolean
        temperature: T, positive

    Returns:
        A float32 scalar.
    """
    student_rows, teacher_rows = (_position_logits(logits, is_padding) for logits in (student_logits, teacher_logits))
    return soft_target_loss(student_rows, teacher_rows, temperature) / 2


def _position_logits(logits: Tensor, is_padding: Tensor) -> Tensor:
    """Logits ``(2 * windows, length)``: of each window the start's, then the end's."""
    masked = logits.float().masked_fill(is_padding[..., None], PADDING_LOGIT)
    return masked.transpose(1, 2).flatten(0, 1)
