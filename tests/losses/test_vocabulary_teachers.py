"""Soft targets of several teachers: the mixture of their distributions."""

import math
from collections.abc import Callable

import pytest
import torch

from fairseq_distil.losses import TermScales, VocabularyProjection, reference_vocabulary_loss, vocabulary_loss

from .projections import (
    PUBLISHED,
    ROW_BYTES,
    assert_chunks_equal_the_formula,
    assert_equal_losses,
    random_projection,
    random_targets,
    with_gradients,
)


@pytest.mark.parametrize("tile_bytes", [1, 5 * ROW_BYTES + 3, 2**26])
@pytest.mark.parametrize("top_k", [None, 5])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.999, 0.001), (0.2, 0.3, 0.5)], ids=str)
@pytest.mark.parametrize(("rows", "masked_rows"), [(17, 3), (0, 0)])
def test_several_teachers(
    rows: int, masked_rows: int, weights: tuple[float, ...], temperature: float, top_k: int | None, tile_bytes: int
) -> None:
    """Of any width, and all of them constants."""
    student = random_projection(rows, 12, seed=1)
    teachers = [random_projection(rows, 5 + index, seed=2 + index) for index in range(len(weights))]
    scales = TermScales(temperature, 5.0, 2.0, top_k, weights)
    arguments = (student, teachers, random_targets(masked_rows), scales)
    assert_chunks_equal_the_formula(*arguments, chunk_bytes=8 * ROW_BYTES, tile_bytes=tile_bytes)


def test_twice_the_same_teacher_is_that_teacher() -> None:
    student, teacher = random_projection(17, 12, seed=1), random_projection(17, 5, seed=2)
    two = with_gradients(
        vocabulary_loss, student, [teacher] * 2, random_targets(3), PUBLISHED._replace(teacher_weights=(0.3, 0.7))
    )
    one = with_gradients(vocabulary_loss, student, [teacher], random_targets(3), PUBLISHED)
    assert_equal_losses(two, one, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("function", [vocabulary_loss, reference_vocabulary_loss])
def test_a_mixture_by_hand(function: Callable) -> None:
    """Of (1/2, 1/2) and (1/10, 9/10), a quarter of the second: (2/5, 3/5)."""
    student = VocabularyProjection(torch.zeros(1, 1), torch.zeros(2, 1), torch.zeros(2))
    teachers = [student, student._replace(bias=torch.tensor([0.0, math.log(9)]))]
    scales = TermScales(1.0, 1.0, 0.0, teacher_weights=(0.75, 0.25))
    losses = function(student, teachers, torch.tensor([1]), scales)
    expected = 0.4 * math.log(0.8) + 0.6 * math.log(1.2)
    assert losses.soft_target.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("function", [vocabulary_loss, reference_vocabulary_loss])
def test_words_that_only_one_teacher_finds_possible(function: Callable) -> None:
    """Nothing becomes log 0, and half of the mixture is each teacher's word."""
    zeros = VocabularyProjection(torch.zeros(1, 1), torch.zeros(3, 1), torch.zeros(3))
    teachers = [zeros._replace(bias=torch.tensor(bias)) for bias in ([500.0, 0.0, 0.0], [0.0, 500.0, 0.0])]
    losses, gradients = with_gradients(
        function, zeros, teachers, random_targets(0), TermScales(1.0, 1.0, 0.0, teacher_weights=(0.5, 0.5))
    )
    assert losses.soft_target.item() == pytest.approx(math.log(3 / 2), rel=1e-5)
    torch.testing.assert_close(gradients[2], 3 * torch.tensor([1 / 3 - 1 / 2, 1 / 3 - 1 / 2, 1 / 3]))
