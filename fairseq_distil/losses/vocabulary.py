"""The terms over the vocabulary, soft targets and masked-LM cross-entropy, in one pass over chunks of rows.

A logit-sized tensor of BERT-base is 4 bytes x tokens x 30,522, and the plain formula holds several. Here the
student's logits serve both terms, and the gradients are formed on the spot, so that memory does not grow with tokens
times vocabulary. Matrix products take a chunk of rows at a time, for they are fast when large; on a CPU the
softmaxes take a smaller tile of it at a time, which stays in the cache, and on a GPU one kernel does them all.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fairseq_distil.modules.linear import linear

from .gradient_sums import GradientSums
from .kernels import vocabulary_kernel
from .soft_target import soft_target_loss
from .teacher_mixture import mixed_logits
from .vocabulary_projection import VocabularyProjection
from .vocabulary_sizes import BlockSizes, block_sizes
from .vocabulary_tile import TermScales, replace_by_gradient


class VocabularyLoss(NamedTuple):
    """Float32 scalars; only ``total`` has a gradient."""

    total: Tensor
    """``soft_target_scale * soft_target + mlm_scale * mlm``"""
    soft_target: Tensor
    """sum over all rows of ``T^2 KL(teachers || student)``; zero without a teacher"""
    mlm: Tensor
    """sum over the masked rows of the cross-entropy, in nats"""
    mlm_correct: Tensor
    """masked rows where the student's first choice is the target"""
    teacher_agreement: Tensor
    """masked rows where the student's first choice is the teachers'; zero without a teacher"""


def reference_vocabulary_loss(
    student: VocabularyProjection,
    teachers: Sequence[VocabularyProjection],
    targets: Tensor,
    scales: TermScales,
) -> VocabularyLoss:
    """The plain formula: what :func:`vocabulary_loss` means and is tested against. Same arguments."""
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


def vocabulary_loss(
    student: VocabularyProjection,
    teachers: Sequence[VocabularyProjection],
    targets: Tensor,
    scales: TermScales,
    **sizes: int,
) -> VocabularyLoss:
    """Soft-target and masked-LM loss of rows, the first ``len(targets)`` of which are the masked ones.

    Under autocast the products run in its type; softmax, losses and sums of weight gradients are float32. In float16
    the gradients of logits are rounded before a loss scale reaches them. With a masked-LM term that is 0.04 % of the
    gradient; where the soft targets are all there is, of flat distributions over 30,522 words, it is 0.5 % at a
    divergence of 0.02 a row, and 5 % at 0.0002. bfloat16 has the range of float32, and no such loss. On GPUs the
    bias's gradient is the sum of these rounded ones.

    Args:
        student: features ``(rows, width)`` and the vocabulary projection
        teachers: the same rows of each teacher, of any width, constants; none where no term needs a teacher
        targets: original ids of the masked rows ``(masked rows,)``
        scales: temperature, words and weights of the soft targets, and the factor of each term in ``total``
        sizes: ``chunk_bytes``, ``tile_bytes`` or ``word_multiple``, see :func:`block_sizes`

    Raises:
        ValueError: the soft targets are of more words than there are, or of none
    """
    device_type = student.features.device.type
    autocast = torch.is_autocast_enabled(device_type)
    dtype = torch.get_autocast_dtype(device_type) if autocast else student.features.dtype
    vocabulary_size = student.weight.size(0)
    if scales.top_k is not None and not 1 <= scales.top_k <= vocabulary_size:
        raise ValueError(f"there are no {scales.top_k} most likely words of a vocabulary of {vocabulary_size:,}")
    blocks = block_sizes(vocabulary_size, dtype, device_type, **sizes)
    needs_gradient = tuple(torch.is_grad_enabled() and tensor.requires_grad for tensor in student)
    return VocabularyLoss(
        *_ChunkedVocabularyLoss.apply(*student, teachers, targets, scales, dtype, blocks, needs_gradient)
    )


class _ChunkedVocabularyLoss(torch.autograd.Function):
    """Forms the gradients of ``total`` in the forward, so that no logits are kept for the backward."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        teachers: Sequence[VocabularyProjection],
        targets: Tensor,
        scales: TermScales,
        dtype: torch.dtype,
        blocks: BlockSizes,
        needs_gradient: tuple[bool, bool, bool],
    ) -> tuple[Tensor, ...]:
        gradients = GradientSums(features, weight, bias, needs_gradient, scales.gradient_unit(bool(teachers)))
        sums = torch.zeros(4, device=features.device)
        with torch.autocast(features.device.type, enabled=False):
            student = VocabularyProjection(features, weight, bias).to(dtype).padded(blocks.padded_words)
            teachers = [teacher.to(dtype).padded(blocks.padded_words) for teacher in teachers]
            for start in range(0, features.size(0), blocks.chunk_rows):
                rows = slice(start, start + blocks.chunk_rows)
                sums += _chunk_by_gradient(student, teachers, rows, targets[rows], scales, gradients, blocks)
        ctx.gradients = gradients.finished()
        soft_target, mlm, correct, agreement = sums.unbind()
        ctx.mark_non_differentiable(soft_target, mlm, correct, agreement)
        return scales.soft_target * soft_target + scales.mlm * mlm, soft_target, mlm, correct, agreement

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, total_gradient: Tensor, *_: Tensor
    ) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the vocabulary loss frees its gradients in the backward; it has run already")
        gradients, ctx.gradients = ctx.gradients, None
        if not _is_known_to_be_one(total_gradient):
            gradients = tuple(None if gradient is None else gradient * total_gradient for gradient in gradients)
        # teachers, targets, scales, dtype, blocks and needs_gradient have none
        return *gradients, None, None, None, None, None, None


def _is_known_to_be_one(gradient: Tensor) -> bool:
    """Asking a CPU costs nothing, and saves a pass over the vocabulary's gradient; a GPU would be waited for."""
    return gradient.device.type == "cpu" and bool(gradient == 1)


def _logits(projection: VocabularyProjection, rows: slice) -> Tensor:
    return linear(projection.features[rows], projection.weight, projection.bias)


def _chunk_by_gradient(
    student: VocabularyProjection,
    teachers: Sequence[VocabularyProjection],
    rows: slice,
    targets: Tensor,
    scales: TermScales,
    gradients: GradientSums,
    blocks: BlockSizes,
) -> Tensor:
    """Sums of some rows, whose logits are released before the next ones are computed."""
    padded_logits = _logits(student, rows)
    logits = padded_logits[:, : blocks.words]
    teacher_logits = [_logits(teacher, rows)[:, : blocks.words] for teacher in teachers]
    if kernel := vocabulary_kernel(logits, len(teachers), scales):
        sums = kernel(logits, *(teacher_logits or [None]), targets, scales, gradients.are_needed)
        if gradients.are_needed:
            gradients.add_tile(logits)
    else:
        sums = torch.zeros(4, device=logits.device)
        for start in range(0, logits.size(0), blocks.tile_rows):
            tile = slice(start, start + blocks.tile_rows)
            of_teachers = [of_one[tile] for of_one in teacher_logits]
            sums += _tile_by_gradient(logits[tile], of_teachers, targets[tile], scales, gradients)
    gradients.add_chunk(rows, padded_logits, student)
    return sums


def _tile_by_gradient(
    logits: Tensor,
    teacher_logits: Sequence[Tensor],
    targets: Tensor,
    scales: TermScales,
    gradients: GradientSums,
) -> Tensor:
    """Sums of a tile, see :func:`replace_by_gradient`, computed in float32 and written back in the logits' own type."""
    exact = logits.float()
    exact_teacher = None
    if teacher_logits:
        exact_of_each = [of_one.float() for of_one in teacher_logits]
        exact_teacher = mixed_logits(exact_of_each, scales.teacher_weights, scales.temperature)
    sums = replace_by_gradient(exact, exact_teacher, targets, scales, gradients.are_needed)
    if gradients.are_needed:
        gradients.add_tile(exact)
        if exact is not logits:
            logits.copy_(exact)
    return sums
