"""Soft targets of the most likely words, and one outcome for all others."""

import pytest
import torch

from fairseq_distil.losses import (
    TermScales,
    VocabularyProjection,
    reference_vocabulary_loss,
    teacher_outcomes,
    vocabulary_loss,
)

from .projections import (
    PUBLISHED,
    ROW_BYTES,
    VOCABULARY,
    assert_chunks_equal_the_formula,
    assert_equal_losses,
    random_projection,
    random_targets,
    with_gradients,
)


@pytest.mark.parametrize("tile_bytes", [1, 5 * ROW_BYTES + 3, 2**26])
@pytest.mark.parametrize("top_k", [1, 2, 13, VOCABULARY - 1, VOCABULARY])
@pytest.mark.parametrize("scales", [PUBLISHED, TermScales(0.5, 1.0, 0.0), TermScales(8.0, 2.5, 1.0)], ids=str)
@pytest.mark.parametrize(("rows", "masked_rows"), [(17, 3), (7, 7), (0, 0), (1, 0)])
def test_top_k(rows: int, masked_rows: int, scales: TermScales, top_k: int, tile_bytes: int) -> None:
    student, teacher = random_projection(rows, 12, seed=1), random_projection(rows, 5, seed=2)
    arguments = (student, [teacher], random_targets(masked_rows), scales._replace(top_k=top_k))
    assert_chunks_equal_the_formula(*arguments, chunk_bytes=8 * ROW_BYTES, tile_bytes=tile_bytes)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
@pytest.mark.parametrize("top_k", [1, 5, 14])
def test_blocks_of_a_larger_vocabulary(top_k: int, temperature: float, dtype: torch.dtype, tolerance: float) -> None:
    """251 words, whose logits are different numbers that bfloat16 tells apart."""
    order = torch.stack([torch.randperm(251, generator=torch.Generator().manual_seed(row)) for row in range(7)])
    student, teacher = (
        VocabularyProjection(torch.eye(7), logits.T.contiguous(), torch.zeros(251)).to(dtype)
        for logits in (torch.randn(7, 251, generator=torch.Generator().manual_seed(9)), order / 32.0)
    )
    arguments = ([teacher], torch.tensor([3, 250]), TermScales(temperature, 5.0, 2.0, top_k))
    found, expected = (
        with_gradients(function, student, *arguments, **options)
        for function, options in ((vocabulary_loss, {"tile_bytes": 2000}), (reference_vocabulary_loss, {}))
    )
    assert_equal_losses(found, expected, atol=10 * tolerance, rtol=tolerance)


def test_the_top_k_of_the_whole_vocabulary_are_all_words() -> None:
    arguments = (random_projection(17, 12, seed=1), [random_projection(17, 5, seed=2)], random_targets(3))
    full, all_words = (
        with_gradients(vocabulary_loss, *arguments, PUBLISHED._replace(top_k=top_k)) for top_k in (None, VOCABULARY)
    )
    torch.testing.assert_close(all_words, full, rtol=0, atol=0)


@pytest.mark.parametrize("top_k", [0, -1, VOCABULARY + 1])
def test_top_k_that_there_are_not(top_k: int) -> None:
    arguments = (random_projection(3, 5, seed=1), [random_projection(3, 5, seed=2)], random_targets(1))
    with pytest.raises(ValueError, match=f"there are no {top_k} most likely words of a vocabulary of 47"):
        vocabulary_loss(*arguments, PUBLISHED._replace(top_k=top_k))


@pytest.mark.parametrize("weights", [(1.0,), (0.7, 0.3)])
@pytest.mark.parametrize(("rows", "masked_rows"), [(17, 3), (7, 7), (0, 0)])
def test_what_the_teachers_gave_serves_for_them(rows: int, masked_rows: int, weights: tuple[float, ...]) -> None:
    student, targets = random_projection(rows, 12, seed=1), random_targets(masked_rows)
    teachers = [random_projection(rows, 5, seed=2 + number) for number in range(len(weights))]
    scales = PUBLISHED._replace(top_k=4, teacher_weights=weights)
    outcomes = teacher_outcomes(teachers, scales, chunk_bytes=8 * ROW_BYTES, tile_bytes=5 * ROW_BYTES)
    assert outcomes.words.shape == (rows, 4) and outcomes.log_probabilities.shape == (rows, 5)
    found, expected = (
        with_gradients(function, student, given, targets, scales)
        for function, given in ((vocabulary_loss, outcomes), (reference_vocabulary_loss, teachers))
    )
    assert_equal_losses(found, expected, atol=1e-4, rtol=1e-5)


def test_outcomes_that_there_are_not() -> None:
    student, teacher = random_projection(3, 5, seed=1), random_projection(3, 5, seed=2)
    with pytest.raises(ValueError, match="all 47 words are likeliest words"):
        teacher_outcomes([teacher], PUBLISHED._replace(top_k=VOCABULARY))
    two_rows = teacher_outcomes([teacher], PUBLISHED._replace(top_k=4)).of_rows(slice(2))
    with pytest.raises(ValueError, match="outcomes of 2 rows for 3 of the student"):
        vocabulary_loss(student, two_rows, random_targets(1), PUBLISHED._replace(top_k=4))


@pytest.mark.parametrize("student_gap", [0.0, 30.0, 400.0])
@pytest.mark.parametrize("teacher_gap", [0.0, 30.0, 400.0])
def test_words_beyond_the_top_k_that_are_all_but_impossible(student_gap: float, teacher_gap: float) -> None:
    """1 - p of float32 would be 0 from a gap of 17 on, and exp(-gap) is from 104 on."""
    student, teacher = random_projection(5, 3, seed=1), random_projection(5, 3, seed=1)
    for projection, gap in ((student, student_gap), (teacher, teacher_gap)):
        projection.bias[:2] += gap
    found, gradients = with_gradients(
        vocabulary_loss, student, [teacher], random_targets(0), TermScales(1.0, 1.0, 0.0, top_k=2)
    )
    # In float64 all of it is far from underflow.
    exact = VocabularyProjection(*(tensor.double().requires_grad_() for tensor in student))
    probabilities = [projection.logits().softmax(-1) for projection in (exact, teacher.to(torch.float64))]
    words = probabilities[1].topk(2).indices
    q, p = (torch.cat([of.gather(1, words), of.scatter(1, words, 0).sum(1, True)], 1) for of in probabilities)
    divergence = (p * (p.log() - q.log())).sum()
    assert found.soft_target.item() == pytest.approx(divergence.item(), rel=1e-5, abs=1e-4)
    for gradient, reference in zip(gradients, torch.autograd.grad(3 * divergence, exact), strict=True):
        torch.testing.assert_close(gradient, reference.float(), atol=1e-4, rtol=1e-5)
