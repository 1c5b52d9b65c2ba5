"""Self-attention relations: how much the tokens of a sequence resemble each other, head by head.

A relation matrix of BERT-base is 4 bytes x 12 heads x length^2 a sequence, and the plain formula holds several. Here
the gradients are formed on the spot, some heads at a time, or some rows of one where the sequence is long, so that
memory grows with neither: a row is a distribution of its own.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK_BYTES = 16 * 2**20
CPU_BLOCK_BYTES = 2**20
"""It stays in the cache: half the time."""


def reference_relation_divergence(
    student: Tensor, teacher: Tensor, heads: int, padding_mask: Tensor | None = None
) -> Tensor:
    """The plain formula: what :func:`relation_divergence` means and is tested against. Same arguments."""
    is_padding = student.new_zeros(student.shape[:2], dtype=torch.bool) if padding_mask is None else padding_mask
    relations = []
    for vectors in (student, teacher):
        split = _exact(vectors).unflatten(-1, (heads, -1)).transpose(1, 2)  # (batch, heads, length, head width)
        scores = split @ split.transpose(-1, -2) / split.size(-1) ** 0.5
        scores = scores.masked_fill(is_padding[:, None, None, :], torch.finfo(scores.dtype).min)
        relations.append(scores.log_softmax(-1))
    student_relation, teacher_relation = relations
    divergence = (teacher_relation.exp() * (teacher_relation - student_relation)).sum(-1).mean(1)
    return divergence.masked_fill(is_padding, 0).sum()


def relation_divergence(
    student: Tensor,
    teacher: Tensor,
    heads: int,
    padding_mask: Tensor | None = None,
    block_bytes: int | None = None,
) -> Tensor:
    """Sum over tokens of ``KL(teacher relation || student relation)``, a mean over the relation heads.

    The relation of a token to the others is ``softmax(A A^T / sqrt(head width))``, with A its queries, keys or values
    (Wang et al., 2021, MiniLMv2, equations 5 and 6).

    Args:
        student: queries, keys or values ``(batch, length, student width)``
        teacher: the same of the teacher ``(batch, length, teacher width)``, constants
        heads: relation heads, which divide both widths
        padding_mask: boolean ``(batch, length)``, true at padding; None where the batch has none
        block_bytes: memory of the part of the relations that is formed at a time, of which there are up to five, and
            at least a row; None: what suits the device

    Returns:
        A float32 scalar; a float64 one of float64 vectors.

    Raises:
        ValueError: the heads do not divide a width
    """
    for role, vectors in (("student", student), ("teacher", teacher)):
        if vectors.size(-1) % heads:
            raise ValueError(f"{heads} relation heads do not divide the {role}'s width {vectors.size(-1)}")
    if block_bytes is None:
        block_bytes = CPU_BLOCK_BYTES if student.device.type == "cpu" else BLOCK_BYTES
    needs_gradient = torch.is_grad_enabled() and student.requires_grad
    return _RelationDivergence.apply(student, teacher, heads, padding_mask, block_bytes, needs_gradient)


class _RelationDivergence(torch.autograd.Function):
    """Forms the gradient in the forward, so that no relation is kept for the backward."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        student: Tensor,
        teacher: Tensor,
        heads: int,
        padding_mask: Tensor | None,
        block_bytes: int,
        needs_gradient: bool,
    ) -> Tensor:
        batch, length, width = student.shape
        student_heads, teacher_heads = _split(student, heads), _split(teacher, heads)
        is_padding = None if padding_mask is None else padding_mask.repeat_interleave(heads, 0)
        gradient = torch.zeros_like(student_heads) if needs_gradient else None
        total = student_heads.new_zeros(())
        with torch.autocast(student.device.type, enabled=False):
            for block, rows in _blocks(batch * heads, length, block_bytes // student_heads.itemsize):
                total += _block(
                    student_heads[block],
                    teacher_heads[block],
                    rows,
                    None if is_padding is None else is_padding[block],
                    None if gradient is None else gradient[block],
                )
        if gradient is not None:
            joined = gradient.view(batch, heads, length, width // heads).transpose(1, 2).reshape(student.shape)
            ctx.save_for_backward((joined / heads).to(student.dtype))
        return total / heads

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, total_gradient: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * total_gradient, None, None, None, None, None


def _exact(vectors: Tensor) -> Tensor:
    return vectors.to(torch.promote_types(vectors.dtype, torch.float32))


def _split(vectors: Tensor, heads: int) -> Tensor:
    """``(batch x heads, length, head width)``, at least float32."""
    return _exact(vectors.detach()).unflatten(-1, (heads, -1)).transpose(1, 2).flatten(0, 1)


def _blocks(matrices: int, length: int, numbers: int) -> Iterator[tuple[slice, slice]]:
    """Which matrices and which of their rows are formed at a time: whole matrices, or rows of one.

    Args:
        matrices: how many there are
        length: rows and columns of each
        numbers: how many a block may have, at least those of a row
    """
    rows = min(length, max(1, numbers // max(1, length)))
    at_a_time = max(1, numbers // max(1, length * length))
    for start in range(0, matrices, at_a_time):
        for first in range(0, length, max(1, rows)):
            yield slice(start, start + at_a_time), slice(first, first + rows)


def _block(student: Tensor, teacher: Tensor, rows: slice, is_padding: Tensor | None, gradient: Tensor | None) -> Tensor:
    """The sum over some rows of heads ``(heads, length, head width)``; their gradient is added to ``gradient``."""
    student_relation = _log_relation(student, rows, is_padding)
    teacher_relation = _log_relation(teacher, rows, is_padding)
    teacher_probabilities = teacher_relation.exp()
    divergence = torch.linalg.vecdot(teacher_probabilities, teacher_relation - student_relation)
    if is_padding is not None:
        divergence.masked_fill_(is_padding[:, rows], 0)
    if gradient is not None:
        # d KL / d scores = p_student - p_teacher; each vector is in its own row of scores, and in a column of all.
        scores_gradient = student_relation.exp_().sub_(teacher_probabilities).mul_(student.size(-1) ** -0.5)
        if is_padding is not None:
            scores_gradient.masked_fill_(is_padding[:, rows, None], 0)
        gradient[:, rows].baddbmm_(scores_gradient, student)
        gradient.baddbmm_(scores_gradient.transpose(1, 2), student[:, rows])
    return divergence.sum()


def _log_relation(vectors: Tensor, rows: slice, is_padding: Tensor | None) -> Tensor:
    """Of the rows ``rows`` to all: ``(heads, rows, length)``."""
    scores = torch.bmm(vectors[:, rows] * vectors.size(-1) ** -0.5, vectors.transpose(1, 2))
    if is_padding is not None:
        scores.masked_fill_(is_padding[:, None, :], torch.finfo(scores.dtype).min)
    return scores.log_softmax(-1)
