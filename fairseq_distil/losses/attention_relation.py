"""Self-attention relations: how much the tokens of a sequence resemble each other, head by head.

A relation matrix of BERT-base is 4 bytes x 12 heads x length^2 a sequence, and the plain formula holds several. Here
the gradients are formed on the spot, some heads at a time, so that memory does not grow with their number.
"""

import torch
from torch import Tensor

BLOCK_BYTES = 16 * 2**20


def reference_relation_divergence(
    student: Tensor, teacher: Tensor, heads: int, padding_mask: Tensor | None = None
) -> Tensor:
    """The plain formula: what :func:`relation_divergence` means and is tested against. Same arguments."""
    is_padding = student.new_zeros(student.shape[:2], dtype=torch.bool) if padding_mask is None else padding_mask
    relations = []
    for vectors in (student, teacher):
        split = vectors.float().unflatten(-1, (heads, -1)).transpose(1, 2)  # (batch, heads, length, head width)
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
    block_bytes: int = BLOCK_BYTES,
) -> Tensor:
    """Sum over tokens of ``KL(teacher relation || student relation)``, a mean over the relation heads.

    The relation of a token to the others is ``softmax(A A^T / sqrt(head width))``, with A its queries, keys or values
    (Wang et al., 2021, MiniLMv2, equations 5 and 6).

    Args:
        student: queries, keys or values ``(batch, length, student width)``
        teacher: the same of the teacher ``(batch, length, teacher width)``, constants
        heads: relation heads, which divide both widths
        padding_mask: boolean ``(batch, length)``, true at padding; None where the batch has none
        block_bytes: memory of the relation matrices that are formed at a time, in float32

    Returns:
        A float32 scalar.

    Raises:
        ValueError: the heads do not divide a width
    """
    for role, vectors in (("student", student), ("teacher", teacher)):
        if vectors.size(-1) % heads:
            raise ValueError(f"{heads} relation heads do not divide the {role}'s width {vectors.size(-1)}")
    matrices = max(1, block_bytes // (torch.float32.itemsize * max(1, student.size(1)) ** 2))
    needs_gradient = torch.is_grad_enabled() and student.requires_grad
    return _RelationDivergence.apply(student, teacher, heads, padding_mask, matrices, needs_gradient)


class _RelationDivergence(torch.autograd.Function):
    """Forms the gradient in the forward, so that no relation is kept for the backward."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        student: Tensor,
        teacher: Tensor,
        heads: int,
        padding_mask: Tensor | None,
        matrices: int,
        needs_gradient: bool,
    ) -> Tensor:
        batch, length, width = student.shape
        student_heads, teacher_heads = _split(student, heads), _split(teacher, heads)
        is_padding = None if padding_mask is None else padding_mask.repeat_interleave(heads, 0)
        gradient = torch.empty_like(student_heads) if needs_gradient else None
        total = torch.zeros((), device=student.device)
        with torch.autocast(student.device.type, enabled=False):
            for start in range(0, batch * heads, matrices):
                block = slice(start, start + matrices)
                total += _block(
                    student_heads[block],
                    teacher_heads[block],
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


def _split(vectors: Tensor, heads: int) -> Tensor:
    """``(batch x heads, length, head width)``, float32."""
    return vectors.detach().float().unflatten(-1, (heads, -1)).transpose(1, 2).flatten(0, 1)


def _block(student: Tensor, teacher: Tensor, is_padding: Tensor | None, gradient: Tensor | None) -> Tensor:
    """The sum over the heads of a block ``(heads, length, head width)``; its gradient goes to ``gradient``."""
    student_relation, teacher_relation = _log_relation(student, is_padding), _log_relation(teacher, is_padding)
    teacher_probabilities = teacher_relation.exp()
    divergence = torch.linalg.vecdot(teacher_probabilities, teacher_relation - student_relation)
    if is_padding is not None:
        divergence.masked_fill_(is_padding, 0)
    if gradient is not None:
        # d KL / d scores = p_student - p_teacher; each vector is in its own row of scores, and in a column of all.
        scores_gradient = student_relation.exp_().sub_(teacher_probabilities).mul_(student.size(-1) ** -0.5)
        if is_padding is not None:
            scores_gradient.masked_fill_(is_padding[:, :, None], 0)
        torch.bmm(scores_gradient + scores_gradient.transpose(1, 2), student, out=gradient)
    return divergence.sum()


def _log_relation(vectors: Tensor, is_padding: Tensor | None) -> Tensor:
    scores = torch.bmm(vectors * vectors.size(-1) ** -0.5, vectors.transpose(1, 2))
    if is_padding is not None:
        scores.masked_fill_(is_padding[:, None, :], torch.finfo(scores.dtype).min)
    return scores.log_softmax(-1)
