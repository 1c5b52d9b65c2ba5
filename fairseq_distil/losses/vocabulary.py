"""The terms over the vocabulary, soft targets and masked-LM cross-entropy, in one pass over chunks of rows.

A logit-sized tensor of BERT-base is 4 bytes x tokens x 30,522, and the plain formula holds several. Here the
student's logits serve both terms, and the gradients are formed on the spot, so that memory does not grow with tokens
times vocabulary. Matrix products take a chunk of rows at a time, for they are fast when large; on a CPU the
softmaxes take a smaller tile of it at a time, which stays in the cache.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fairseq_distil.modules.linear import linear

from .soft_target import soft_target_loss
from .teacher_mixture import mixed_logits
from .vocabulary_tile import TermScales, replace_by_gradient

CHUNK_BYTES = 64 * 2**20
CPU_TILE_BYTES = 2**20


class VocabularyProjection(NamedTuple):
    """What is projected on the vocabulary."""

    features: Tensor
    """``(rows, width)``"""
    weight: Tensor
    """``(vocab, width)``"""
    bias: Tensor
    """``(vocab,)``"""

    def logits(self) -> Tensor:
        """``features @ weight.T + bias``: ``(rows, vocab)``."""
        return F.linear(self.features, self.weight, self.bias)

    def to(self, dtype: torch.dtype) -> "VocabularyProjection":
        """The same in another floating-point type."""
        return VocabularyProjection(*(tensor.to(dtype) for tensor in self))


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
    chunk_bytes: int = CHUNK_BYTES,
    tile_bytes: int | None = None,
) -> VocabularyLoss:
    """Soft-target and masked-LM loss of rows, the first ``len(targets)`` of which are the masked ones.

    Under autocast the products run in its type; softmax, losses and sums of weight gradients are float32. In float16
    the gradients of logits are rounded before a loss scale reaches them. With a masked-LM term that is 0.04 % of the
    gradient; where the soft targets are all there is, of flat distributions over 30,522 words, it is 0.5 % at a
    divergence of 0.02 a row, and 5 % at 0.0002. bfloat16 has the range of float32, and no such loss.

    Args:
        student: features ``(rows, width)`` and the vocabulary projection
        teachers: the same rows of each teacher, of any width, constants; none where no term needs a teacher
        targets: original ids of the masked rows ``(masked rows,)``
        scales: temperature, words and weights of the soft targets, and the factor of each term in ``total``
        chunk_bytes: memory of the logits of one matrix product, in the type that it is computed in
        tile_bytes: memory of the logits of one softmax, in float32; None: what suits the device

    Raises:
        ValueError: the soft targets are of more words than there are, or of none
    """
    device_type = student.features.device.type
    autocast = torch.is_autocast_enabled(device_type)
    dtype = torch.get_autocast_dtype(device_type) if autocast else student.features.dtype
    if tile_bytes is None:
        tile_bytes = CPU_TILE_BYTES if device_type == "cpu" else chunk_bytes
    vocabulary_size = student.weight.size(0)
    if scales.top_k is not None and not 1 <= scales.top_k <= vocabulary_size:
        raise ValueError(f"there are no {scales.top_k} most likely words of a vocabulary of {vocabulary_size:,}")
    chunk_rows = max(1, chunk_bytes // (dtype.itemsize * vocabulary_size))
    chunk_rows = 2 ** (chunk_rows.bit_length() - 1)  # the products are faster: by a fifth with 512 instead of 549
    tile_rows = max(1, tile_bytes // (torch.float32.itemsize * vocabulary_size))
    rows_at_a_time = chunk_rows, tile_rows
    needs_gradient = tuple(torch.is_grad_enabled() and tensor.requires_grad for tensor in student)
    return VocabularyLoss(
        *_ChunkedVocabularyLoss.apply(*student, teachers, targets, scales, dtype, rows_at_a_time, needs_gradient)
    )


class _GradientSums:
    """Gradients of features, weight and bias, those that are needed, from the gradients of logits.

    Args:
        features, weight, bias: see :class:`VocabularyProjection`
        needed: which of them need a gradient
        unit: of the logits' gradients, see :meth:`TermScales.gradient_unit`
    """

    def __init__(
        self, features: Tensor, weight: Tensor, bias: Tensor, needed: tuple[bool, bool, bool], unit: float
    ) -> None:
        self.are_needed = any(needed)
        self.unit = unit
        self.features = torch.empty_like(features) if needed[0] else None
        self.dtype = weight.dtype
        sums = {"dtype": torch.promote_types(weight.dtype, torch.float32)}
        self.weight = torch.empty_like(weight, **sums) if needed[1] else None
        self.bias = torch.zeros_like(bias, **sums) if needed[2] else None
        self.weight_is_empty = True

    def add_tile(self, logits_gradient: Tensor) -> None:
        """Take in a float32 tile ``(rows, vocab)``."""
        if self.bias is not None:
            self.bias += logits_gradient.sum(0)

    def add_chunk(self, rows: slice, logits_gradient: Tensor, student: VocabularyProjection) -> None:
        """Take in the rows ``rows`` of the batch, in the type of the products."""
        if self.features is not None:
            self.features[rows] = (logits_gradient @ student.weight).mul_(self.unit)
        if self.weight is not None:
            self._add_to_weight(logits_gradient.T, student.features[rows])

    def _add_to_weight(self, left: Tensor, right: Tensor) -> None:
        if left.dtype == self.weight.dtype:  # the sum comes with the product
            self.weight.addmm_(left, right, beta=0 if self.weight_is_empty else 1, alpha=self.unit)
        else:
            product = left @ right
            if self.weight_is_empty:
                torch.mul(product, self.unit, out=self.weight)
            else:
                self.weight.add_(product, alpha=self.unit)
        self.weight_is_empty = False

    def finished(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The gradients."""
        if self.weight is not None and self.weight_is_empty:
            self.weight.zero_()
        if self.bias is not None:
            self.bias *= self.unit
        sums = (None if total is None else total.to(self.dtype) for total in (self.weight, self.bias))
        return self.features, *sums


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
        rows_at_a_time: tuple[int, int],
        needs_gradient: tuple[bool, bool, bool],
    ) -> tuple[Tensor, ...]:
        gradients = _GradientSums(features, weight, bias, needs_gradient, scales.gradient_unit(bool(teachers)))
        sums = torch.zeros(4, device=features.device)
        with torch.autocast(features.device.type, enabled=False):
            student = VocabularyProjection(features, weight, bias).to(dtype)
            teachers = [teacher.to(dtype) for teacher in teachers]
            chunk_rows, tile_rows = rows_at_a_time
            for start in range(0, features.size(0), chunk_rows):
                rows = slice(start, start + chunk_rows)
                sums += _chunk_by_gradient(student, teachers, rows, targets[rows], scales, gradients, tile_rows)
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
        # teachers, targets, scales, dtype, rows_at_a_time and needs_gradient have none
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
    gradients: "_GradientSums",
    tile_rows: int,
) -> Tensor:
    """Sums of some rows, whose logits are released before the next ones are computed."""
    logits = _logits(student, rows)
    teacher_logits = [_logits(teacher, rows) for teacher in teachers]
    sums = torch.zeros(4, device=logits.device)
    for start in range(0, logits.size(0), tile_rows):
        tile = slice(start, start + tile_rows)
        of_teachers = [of_one[tile] for of_one in teacher_logits]
        sums += _tile_by_gradient(logits[tile], of_teachers, targets[tile], scales, gradients)
    gradients.add_chunk(rows, logits, student)
    return sums


def _tile_by_gradient(
    logits: Tensor,
    teacher_logits: Sequence[Tensor],
    targets: Tensor,
    scales: TermScales,
    gradients: "_GradientSums",
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
