"""The terms over the vocabulary, soft targets and masked-LM cross-entropy, in one pass over chunks of rows.

A logit-sized tensor of BERT-base is 4 bytes x tokens x 30,522, and the plain formula holds several. Here the
student's logits serve both terms, and the gradients are formed on the spot, so that memory does not grow with tokens
times vocabulary. Matrix products take a chunk of rows at a time, for they are fast when large; on a CPU the
softmaxes take a smaller tile of it at a time, which stays in the cache, and on a GPU one kernel does them all.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fairseq_distil.modules.linear import linear

from .gradient_sums import GradientSums
from .kernels import vocabulary_kernel
from .teacher_mixture import mixed_logits
from .vocabulary_projection import VocabularyProjection
from .vocabulary_sizes import BlockSizes, block_sizes
from .vocabulary_tile import TermScales, replace_by_gradient
from .word_outcomes import WordOutcomes, likeliest_outcomes


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


def vocabulary_loss(
    student: VocabularyProjection,
    teachers: Sequence[VocabularyProjection] | WordOutcomes,
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
        teachers: the same rows of each teacher, of any width, constants; none where no term needs a teacher; or what
            :func:`teacher_outcomes` made of them for these scales
        targets: original ids of the masked rows ``(masked rows,)``
        scales: temperature, words and weights of the soft targets, and the factor of each term in ``total``
        sizes: ``chunk_bytes``, ``tile_bytes`` or ``word_multiple``, see :func:`block_sizes`

    Raises:
        ValueError: the soft targets are of more words than there are, or of none, or of other rows
    """
    dtype, blocks = _dtype_and_blocks(student, scales, **sizes)
    if isinstance(teachers, WordOutcomes) and len(teachers.words) != len(student.features):
        raise ValueError(f"outcomes of {len(teachers.words):,} rows for {len(student.features):,} of the student")
    needs_gradient = tuple(torch.is_grad_enabled() and tensor.requires_grad for tensor in student)
    return VocabularyLoss(
        *_ChunkedVocabularyLoss.apply(*student, teachers, targets, scales, dtype, blocks, needs_gradient)
    )


@torch.no_grad()
def teacher_outcomes(teachers: Sequence[VocabularyProjection], scales: TermScales, **sizes: int) -> WordOutcomes:
    """What the soft targets of the likeliest words need of the teachers, which is little.

    Args:
        teachers: rows of each, as :func:`vocabulary_loss` takes them; at least one
        scales: of which temperature, words and teachers' weights count
        sizes: see :func:`vocabulary_loss`

    Raises:
        ValueError: the soft targets are of all words there are, or more, or of none
    """
    dtype, blocks = _dtype_and_blocks(teachers[0], scales, **sizes)
    with torch.autocast(teachers[0].features.device.type, enabled=False):
        if scales.top_k == blocks.words:
            raise ValueError(f"all {blocks.words:,} words are likeliest words, which leaves none as the others")
        teachers = [teacher.to(dtype).padded(blocks.padded_words) for teacher in teachers]
        rows = teachers[0].features.size(0)
        chunks = range(0, max(1, rows), blocks.chunk_rows)
        return _joined([_chunk_outcomes(teachers, slice(at, at + blocks.chunk_rows), scales, blocks) for at in chunks])


def _dtype_and_blocks(
    projection: VocabularyProjection, scales: TermScales, **sizes: int
) -> tuple[torch.dtype, BlockSizes]:
    """The type of products, and how much is computed at a time."""
    device_type = projection.features.device.type
    autocast = torch.is_autocast_enabled(device_type)
    dtype = torch.get_autocast_dtype(device_type) if autocast else projection.features.dtype
    vocabulary_size = projection.weight.size(0)
    if scales.top_k is not None and not 1 <= scales.top_k <= vocabulary_size:
        raise ValueError(f"there are no {scales.top_k} most likely words of a vocabulary of {vocabulary_size:,}")
    return dtype, block_sizes(vocabulary_size, dtype, device_type, **sizes)


class _ChunkedVocabularyLoss(torch.autograd.Function):
    """Forms the gradients of ``total`` in the forward, so that no logits are kept for the backward."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        teachers: Sequence[VocabularyProjection] | WordOutcomes,
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
            if not isinstance(teachers, WordOutcomes):
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
    teachers: Sequence[VocabularyProjection] | WordOutcomes,
    rows: slice,
    targets: Tensor,
    scales: TermScales,
    gradients: GradientSums,
    blocks: BlockSizes,
) -> Tensor:
    """Sums of some rows, whose logits are released before the next ones are computed."""
    outcomes: WordOutcomes | None = None
    teacher_logits: list[Tensor] = []
    is_of_likeliest_words = scales.top_k not in (None, blocks.words)
    if isinstance(teachers, WordOutcomes):
        outcomes = teachers.of_rows(rows)
    elif teachers and is_of_likeliest_words:  # then the teachers' logits go before the student's come
        outcomes = _chunk_outcomes(teachers, rows, scales, blocks)
    else:
        teacher_logits = [_logits(teacher, rows)[:, : blocks.words] for teacher in teachers]
    padded_logits = _logits(student, rows)
    logits = padded_logits[:, : blocks.words]
    if outcomes is None and (kernel := vocabulary_kernel(logits, len(teacher_logits), scales)):
        sums = kernel(logits, *(teacher_logits or [None]), targets, scales, gradients.are_needed)
        if gradients.are_needed:
            gradients.add_tile(logits)
    else:
        sums = torch.zeros(4, device=logits.device)
        for tile in blocks.tiles(logits.size(0)):
            teacher = (
                outcomes.of_rows(tile) if outcomes is not None else _tile_of_teachers(teacher_logits, tile, scales)
            )
            sums += _tile_by_gradient(logits[tile], teacher, targets[tile], scales, gradients)
    gradients.add_chunk(rows, padded_logits, student)
    return sums


def _chunk_outcomes(
    teachers: Sequence[VocabularyProjection], rows: slice, scales: TermScales, blocks: BlockSizes
) -> WordOutcomes:
    """The likeliest words of some rows, whose logits are released."""
    teacher_logits = [_logits(teacher, rows)[:, : blocks.words] for teacher in teachers]
    tiles = (_tile_of_teachers(teacher_logits, tile, scales) for tile in blocks.tiles(teacher_logits[0].size(0)))
    return _joined([likeliest_outcomes(tile.mul_(1 / scales.temperature), scales.top_k) for tile in tiles])


def _joined(parts: Sequence[WordOutcomes]) -> WordOutcomes:
    return WordOutcomes(*map(torch.cat, zip(*parts, strict=True)))


def _tile_of_teachers(teacher_logits: Sequence[Tensor], tile: slice, scales: TermScales) -> Tensor | None:
    """Logits of a tile, in float32 and to be overwritten, of the mixture of all teachers, if there are any."""
    if not teacher_logits:
        return None
    return mixed_logits([of_one[tile].float() for of_one in teacher_logits], scales.teacher_weights, scales.temperature)


def _tile_by_gradient(
    logits: Tensor,
    teacher: Tensor | WordOutcomes | None,
    targets: Tensor,
    scales: TermScales,
    gradients: GradientSums,
) -> Tensor:
    """Sums of a tile, see :func:`replace_by_gradient`, computed in float32 and written back in the logits' own type."""
    exact = logits.float()
    sums = replace_by_gradient(exact, teacher, targets, scales, gradients.are_needed)
    if gradients.are_needed:
        gradients.add_tile(exact)
        if exact is not logits:
            logits.copy_(exact)
    return sums
