"""The terms over the vocabulary as they are written down, with all logits in memory."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .soft_target import soft_target_loss
from .vocabulary import VocabularyLoss
from .vocabulary_projection import VocabularyProjection
from .vocabulary_tile import TermScales


def reference_vocabulary_loss(
    student: VocabularyProjection,
    teachers: Sequence[VocabularyProjection],
    targets: Tensor,
    scales: TermScales,
) -> VocabularyLoss:
    """What :func:`~fairseq_distil.losses.vocabulary_loss` means and is tested against, of the teachers' projections."""
    student_logits = student.logits().float()
    masked_logits = student_logits[: targets.numel()]
    soft_target = agreement = student_logits.new_zeros(())
    if teachers:
        teacher_logits = _mixed_logits_by_probabilities(teachers, scales)
        soft_target = soft_target_loss(student_logits, teacher_logits, scales.temperature, scales.top_k)
        agreement = masked_logits.argmax(-1).eq(teacher_logits[: targets.numel()].argmax(-1)).sum().float()
    mlm = F.cross_entropy(masked_logits, targets, reduction="sum")
    correct = masked_logits.argmax(-1).eq(targets).sum().float()
    total = scales.soft_target * soft_target + scales.mlm * mlm
    return VocabularyLoss(total, soft_target.detach(), mlm.detach(), correct, agreement)


def _mixed_logits_by_probabilities(teachers: Sequence[VocabularyProjection], scales: TermScales) -> Tensor:
    logits = [teacher.logits().float() for teacher in teachers]
    if len(logits) == 1:
        return logits[0]
    log_probabilities = torch.stack([(of_one / scales.temperature).log_softmax(-1) for of_one in logits], -1)
    log_weights = log_probabilities.new_tensor(scales.teacher_weights).log()
    return scales.temperature * (log_probabilities + log_weights).logsumexp(-1)
