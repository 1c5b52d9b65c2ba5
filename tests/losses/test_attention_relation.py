"""The relations in blocks against the plain formula, and against numbers worked out by hand."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fairseq_distil.losses import attention_relation, reference_relation_divergence, relation_divergence

from .live_bytes import LiveBytes

ROW_BYTES = 4 * 7
"""Of the relations of a sequence of 7."""


def random_vectors(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def padding(batch: int, length: int) -> Tensor:
    """The first sequence has none, each next one more, and the last is padding alone."""
    mask = torch.zeros(batch, length, dtype=torch.bool)
    for row in range(1, batch):
        mask[row, length - row :] = True
    mask[-1] = batch > 1
    return mask


@pytest.mark.parametrize("block_bytes", [1, 3 * ROW_BYTES + 5, 7 * ROW_BYTES, 5 * 7 * ROW_BYTES, None])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    ("batch", "heads", "width", "teacher_width"), [(3, 4, 12, 20), (1, 1, 5, 5), (2, 6, 6, 12), (0, 2, 4, 4)]
)
def test_blocks_equal_the_plain_formula(
    batch: int, heads: int, width: int, teacher_width: int, padded: bool, block_bytes: int | None
) -> None:
    student = random_vectors(batch, 7, width, seed=1).requires_grad_()
    teacher = random_vectors(batch, 7, teacher_width, seed=2)
    mask = padding(batch, 7) if padded and batch else None
    loss = relation_divergence(student, teacher, heads, mask, block_bytes)
    expected = reference_relation_divergence(student, teacher, heads, mask)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        torch.autograd.grad(3 * loss, student)[0], torch.autograd.grad(3 * expected, student)[0], atol=1e-5, rtol=1e-5
    )


def divergence_head_by_head(student: Tensor, teacher: Tensor, heads: int, is_padding: Tensor) -> Tensor:
    """Of each sequence without its padding, and of each head's own columns; a mean over heads, a sum over tokens."""

    def relation_logits(vectors: Tensor, head: int) -> Tensor:
        width = vectors.size(1) // heads
        of_head = vectors[:, head * width : (head + 1) * width]
        return of_head @ of_head.T / math.sqrt(width)

    total = student.new_zeros(())
    for student_vectors, teacher_vectors, padded in zip(student, teacher, is_padding, strict=True):
        for head in range(heads):
            student_logits = relation_logits(student_vectors[~padded], head)
            teacher_probabilities = relation_logits(teacher_vectors[~padded], head).softmax(-1)
            total = total + F.kl_div(student_logits.log_softmax(-1), teacher_probabilities, reduction="sum") / heads
    return total


@pytest.mark.parametrize("function", [relation_divergence, reference_relation_divergence])
def test_wide_heads_of_padded_sequences_one_by_one(function: Callable) -> None:
    """Student heads of width 2, teacher heads of width 5; padding at an end, at the beginning and within."""
    student = random_vectors(4, 7, 6, seed=11, dtype=torch.float64).requires_grad_()
    teacher = random_vectors(4, 7, 15, seed=12, dtype=torch.float64)
    is_padding = torch.zeros(4, 7, dtype=torch.bool)
    is_padding[1, 5:] = is_padding[2, :1] = is_padding[3, 2:4] = True
    loss = function(student, teacher, 3, is_padding)
    expected = divergence_head_by_head(student, teacher, 3, is_padding)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, student), torch.autograd.grad(expected, student))


def test_hand_computed() -> None:
    """Two tokens, one head of width 1: scores 1, 1 / 1, 1 of the student; 4, 0 / 0, 0 of the teacher."""
    student, teacher = torch.ones(1, 2, 1), torch.tensor([[[2.0], [0.0]]])
    favoured = math.exp(4) / (math.exp(4) + 1)
    entropy = -favoured * math.log(favoured) - (1 - favoured) * math.log(1 - favoured)
    for function in (relation_divergence, reference_relation_divergence):
        assert function(student, teacher, 1).item() == pytest.approx(math.log(2) - entropy, rel=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 5])
@pytest.mark.parametrize("padded", [False, True])
def test_gradient_by_finite_differences(padded: bool, rows: int) -> None:
    """In float64, of blocks of so many rows, the last of which are fewer: a vector is in rows and in columns."""
    student = random_vectors(2, 5, 6, seed=3, dtype=torch.float64).requires_grad_()
    teacher = random_vectors(2, 5, 4, seed=4, dtype=torch.float64)
    mask = padding(3, 5)[:2] if padded else None
    for function in (reference_relation_divergence, partial(relation_divergence, block_bytes=rows * 5 * 8)):
        assert torch.autograd.gradcheck(lambda vectors, function=function: function(vectors, teacher, 2, mask), student)


@pytest.mark.parametrize(
    ("matrices", "length", "numbers", "expected"),
    [
        (3, 2, 11, [((0, 2), (0, 2)), ((2, 4), (0, 2))]),
        (2, 5, 24, [((0, 1), (0, 4)), ((0, 1), (4, 8)), ((1, 2), (0, 4)), ((1, 2), (4, 8))]),
        (1, 2, 0, [((0, 1), (0, 1)), ((0, 1), (1, 2))]),
        (0, 2, 99, []),
        (1, 0, 99, []),
    ],
)
def test_blocks_are_as_large_as_they_may_be(matrices: int, length: int, numbers: int, expected: list) -> None:
    blocks = attention_relation._blocks(matrices, length, numbers)
    assert [tuple((part.start, part.stop) for part in block) for block in blocks] == expected


def working_bytes(function: Callable, batch: int, length: int) -> int:
    """The most that was live at once, beside what grows with the vectors alone: copies and gradients of them."""
    student, teacher = (
        random_vectors(batch, length, 6, seed=1).requires_grad_(),
        random_vectors(batch, length, 4, seed=2),
    )
    with LiveBytes() as live:
        gradient = torch.autograd.grad(function(student, teacher, 2, padding(batch + 1, length)[:-1]), student)[0]
        assert live.now == gradient.nbytes
    return live.peak - 5 * student.nbytes


@pytest.mark.parametrize(("batch", "length"), [(1, 128), (1, 512), (3, 512), (1, 2048)])
def test_memory_stays_within_five_blocks(batch: int, length: int) -> None:
    """Of a head of 2,048 tokens the relations alone are 16 MiB. The plain formula holds several of all heads."""
    block_bytes = 64 * 2**10
    assert working_bytes(partial(relation_divergence, block_bytes=block_bytes), batch, length) < 5 * block_bytes


def test_memory_of_the_plain_formula_is_that_of_all_relations() -> None:
    assert working_bytes(reference_relation_divergence, 1, 512) > 5 * 2 * 4 * 512**2


def test_rotated_vectors_have_the_same_relations() -> None:
    vectors = random_vectors(2, 5, 3, seed=6)
    rotation, _ = torch.linalg.qr(random_vectors(3, 3, seed=7))
    student = (vectors @ rotation).requires_grad_()
    loss = relation_divergence(student, vectors, 1)
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert torch.autograd.grad(loss, student)[0].abs().max() < 1e-5


def test_half_precision_is_computed_in_float32_and_its_gradient_is_of_its_type() -> None:
    student, teacher = random_vectors(2, 5, 6, seed=8).bfloat16(), random_vectors(2, 5, 6, seed=9).bfloat16()
    loss = relation_divergence(student.requires_grad_(), teacher, 3)
    torch.testing.assert_close(loss, reference_relation_divergence(student.float(), teacher.float(), 3))
    assert torch.autograd.grad(loss, student)[0].dtype == torch.bfloat16


def test_autocast_does_not_reach_it() -> None:
    student, teacher = random_vectors(2, 5, 6, seed=8), random_vectors(2, 5, 6, seed=9)
    with torch.autocast("cpu", torch.bfloat16):
        loss = relation_divergence(student, teacher, 3)
    assert torch.equal(loss, relation_divergence(student, teacher, 3))


@pytest.mark.parametrize(("widths", "message"), [((7, 6), "student's width 7"), ((6, 7), "teacher's width 7")])
def test_heads_that_do_not_divide_a_width(widths: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"3 relation heads do not divide the {message}"):
        relation_divergence(torch.zeros(1, 2, widths[0]), torch.zeros(1, 2, widths[1]), 3)
