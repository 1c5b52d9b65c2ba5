"""The chunked loss against the plain formula, and both against numbers worked out by hand."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fairseq_distil.losses import (
    TermScales,
    VocabularyProjection,
    reference_vocabulary_loss,
    vocabulary_loss,
    vocabulary_sizes,
)
from fairseq_distil.losses import vocabulary as vocabulary_module

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


@pytest.mark.parametrize("chunk_bytes", [1, 3 * ROW_BYTES, 8 * ROW_BYTES, 2**26], ids=["1", "2", "8", "all"])
@pytest.mark.parametrize("tile_bytes", [1, ROW_BYTES, 5 * ROW_BYTES + 3, 2**26])
@pytest.mark.parametrize(
    ("rows", "masked_rows", "width", "teacher_width"),
    [(3, 1, 12, 12), (17, 3, 12, 13), (17, 0, 5, 12), (7, 7, 12, 12), (0, 0, 12, 12), (1, 1, 1, 7)],
)
def test_chunks_equal_the_plain_formula(
    rows: int, masked_rows: int, width: int, teacher_width: int, tile_bytes: int, chunk_bytes: int
) -> None:
    student, teacher = random_projection(rows, width, seed=1), random_projection(rows, teacher_width, seed=2)
    arguments = (student, [teacher], random_targets(masked_rows), PUBLISHED)
    assert_chunks_equal_the_formula(*arguments, chunk_bytes=chunk_bytes, tile_bytes=tile_bytes)


@pytest.mark.parametrize(
    "scales",
    [
        TermScales(1.0, 1.0, 1.0),
        TermScales(0.5, 0.0, 3.0),
        TermScales(8.0, 2.5, 0.0),
        TermScales(3.0, 0.0, 0.0),
        TermScales(2.0, -5.0, 1.5),
    ],
    ids=str,
)
@pytest.mark.parametrize("has_teacher", [True, False])
def test_temperatures_and_scales(scales: TermScales, has_teacher: bool) -> None:
    student = random_projection(11, 12, seed=1)
    teachers = [random_projection(11, 12, seed=2)] if has_teacher else []
    arguments = (student, teachers, random_targets(5), scales)
    assert_chunks_equal_the_formula(*arguments, chunk_bytes=4 * ROW_BYTES, tile_bytes=3 * ROW_BYTES)


@pytest.mark.parametrize("teacher_count", [0, 1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("word_multiple", [2, 64])
def test_padded_vocabularies_change_nothing(word_multiple: int, dtype: torch.dtype, teacher_count: int) -> None:
    student, *teachers = (random_projection(11, 12, seed, dtype) for seed in range(1 + teacher_count))
    scales = PUBLISHED._replace(teacher_weights=(1 / max(1, teacher_count),) * teacher_count)
    sizes = {"chunk_bytes": 4 * dtype.itemsize * 64, "tile_bytes": 3 * ROW_BYTES}
    unpadded, padded = (
        with_gradients(vocabulary_loss, student, teachers, random_targets(5), scales, **sizes, word_multiple=multiple)
        for multiple in (1, word_multiple)
    )
    rounding = {"atol": 0.1, "rtol": 2e-2} if dtype == torch.bfloat16 else {"atol": 1e-4, "rtol": 1e-5}
    assert_equal_losses(padded, unpadded, **rounding)


@pytest.mark.parametrize("top_k", [None, 5])
@pytest.mark.parametrize(
    ("dtype", "atol", "rtol"), [(torch.float64, 1e-4, 1e-5), (torch.bfloat16, 0.5, 5e-2), (torch.float16, 0.1, 1e-2)]
)
def test_other_floating_point_types(dtype: torch.dtype, atol: float, rtol: float, top_k: int | None) -> None:
    scales = PUBLISHED._replace(top_k=top_k)
    arguments = (random_projection(7, 12, 1, dtype), [random_projection(7, 12, 2, dtype)], random_targets(3), scales)
    chunk_bytes = 4 * dtype.itemsize * VOCABULARY
    losses, gradients = with_gradients(vocabulary_loss, *arguments, chunk_bytes=chunk_bytes, tile_bytes=2 * ROW_BYTES)
    assert all(value.dtype == torch.float32 for value in losses)
    assert all(gradient.dtype == dtype for gradient in gradients)
    assert_equal_losses(
        (losses, gradients), with_gradients(reference_vocabulary_loss, *arguments), atol=atol, rtol=rtol
    )


@pytest.mark.parametrize("soft_target", [1e-4, 1e-30, 1e-45, -1e-4])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 5e-3)])
def test_a_soft_target_weight_that_has_nearly_faded_out(
    soft_target: float, dtype: torch.dtype, tolerance: float
) -> None:
    """The other term is huge in units of this one."""
    student, teacher = random_projection(7, 12, 1, dtype), random_projection(7, 12, 2, dtype)
    others = random_targets(3), TermScales(2.0, soft_target, 2.0 / 0.15)
    found = with_gradients(vocabulary_loss, student, [teacher], *others, tile_bytes=2 * ROW_BYTES)[1]
    exact = with_gradients(reference_vocabulary_loss, student.to(torch.float64), [teacher.to(torch.float64)], *others)[
        1
    ]
    for gradient, reference in zip(found, exact, strict=True):
        assert (gradient - reference).norm() < tolerance * reference.norm()


def test_autocast_is_close_to_float32() -> None:
    arguments = (random_projection(17, 12, 1), [random_projection(17, 12, 2)], random_targets(5), PUBLISHED)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses, gradients = with_gradients(vocabulary_loss, *arguments, tile_bytes=4 * ROW_BYTES)
        expected = with_gradients(reference_vocabulary_loss, *arguments)
    exact, _ = with_gradients(reference_vocabulary_loss, *arguments)
    assert losses.total.dtype == torch.float32 and all(gradient.dtype == torch.float32 for gradient in gradients)
    # The same bfloat16 logits, so the losses agree to float32; the gradients' products are bfloat16.
    torch.testing.assert_close(losses, expected[0], atol=1e-3, rtol=1e-5)
    for gradient, reference in zip(gradients, expected[1], strict=True):
        assert (gradient - reference).norm() < 0.01 * reference.norm()
    assert losses.total.item() == pytest.approx(exact.total.item(), rel=0.01)


@pytest.mark.parametrize("function", [vocabulary_loss, reference_vocabulary_loss])
def test_hand_computed(function: Callable) -> None:
    # Logits of the student (0, ln 3), (0, ln 3), (0, 0); of the teacher (0, 0), (0, ln 9), (0, 0)
    student = VocabularyProjection(
        torch.tensor([[1.0], [1.0], [0.0]]), torch.tensor([[0.0], [math.log(3)]]), torch.zeros(2)
    )
    teacher = VocabularyProjection(
        torch.tensor([[0.0], [2.0], [0.0]]), torch.tensor([[0.0], [math.log(3)]]), torch.zeros(2)
    )
    losses = function(student, [teacher], torch.tensor([0, 1]), TermScales(temperature=1.0, soft_target=5.0, mlm=2.0))
    cross_entropy = math.log(4) + math.log(4 / 3)
    divergence = (math.log(2) - math.log(3) / 2) + (0.1 * math.log(0.1 / 0.25) + 0.9 * math.log(0.9 / 0.75))
    assert losses.mlm.item() == pytest.approx(cross_entropy, rel=1e-6)
    assert losses.soft_target.item() == pytest.approx(divergence, rel=1e-5)
    assert losses.total.item() == pytest.approx(5 * divergence + 2 * cross_entropy, rel=1e-5)
    assert losses.mlm_correct.item() == 1  # the first choice is symbol 1 in both masked rows, the target in the second
    assert losses.teacher_agreement.item() == 1  # the teacher's tie in the first row goes to the first symbol


def test_equal_projections_have_no_soft_target_loss_or_gradient() -> None:
    student = random_projection(7, 12, seed=1)
    losses, gradients = with_gradients(
        vocabulary_loss, student, [student], random_targets(0), PUBLISHED, tile_bytes=2 * ROW_BYTES
    )
    assert losses.soft_target.item() == pytest.approx(0, abs=1e-5)
    for gradient in gradients:
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-4, rtol=0)


def test_gradient_by_finite_differences() -> None:
    student, teacher = random_projection(5, 3, seed=1), random_projection(5, 4, seed=2)
    arguments = ([teacher], random_targets(2), TermScales(2.0, 1.0, 1.0))
    _, gradients = with_gradients(vocabulary_loss, student, *arguments, tile_bytes=2 * ROW_BYTES)
    step = 1e-2
    for field, gradient in zip(VocabularyProjection._fields, gradients, strict=True):
        direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(3))
        totals = [
            vocabulary_loss(student._replace(**{field: getattr(student, field) + sign * step * direction}), *arguments)
            for sign in (1, -1)
        ]
        numeric = 3 * (totals[0].total - totals[1].total) / (2 * step)
        torch.testing.assert_close((gradient * direction).sum(), numeric, atol=1e-2, rtol=1e-2)


def test_without_gradients() -> None:
    arguments = (random_projection(7, 12, 1), [random_projection(7, 12, 2)], random_targets(3), PUBLISHED)
    with torch.no_grad():
        losses = vocabulary_loss(*arguments, tile_bytes=2 * ROW_BYTES)
    torch.testing.assert_close(losses, reference_vocabulary_loss(*arguments), atol=1e-4, rtol=1e-5)
    assert not losses.total.requires_grad


def test_only_the_total_has_a_gradient() -> None:
    student = VocabularyProjection(*(tensor.requires_grad_() for tensor in random_projection(7, 12, 1)))
    losses = vocabulary_loss(student, [random_projection(7, 12, 2)], random_targets(3), PUBLISHED)
    assert [value.requires_grad for value in losses] == [True, False, False, False, False]


def test_the_teacher_has_no_part_in_the_gradient() -> None:
    teacher = VocabularyProjection(*(tensor.requires_grad_() for tensor in random_projection(7, 12, 2)))
    losses = vocabulary_loss(random_projection(7, 12, 1), [teacher], random_targets(3), PUBLISHED)
    assert not losses.total.requires_grad


def test_products_take_a_power_of_two_of_rows_and_softmaxes_on_a_cpu_a_small_tile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    products, softmaxes = [], []
    logits, replace = vocabulary_module._logits, vocabulary_module.replace_by_gradient

    def noted_logits(projection: VocabularyProjection, rows: slice) -> Tensor:
        products.append(len(projection.features[rows]))
        return logits(projection, rows)

    def noted_replace(student_logits: Tensor, *arguments: object) -> Tensor:
        softmaxes.append(len(student_logits))
        return replace(student_logits, *arguments)

    monkeypatch.setattr(vocabulary_module, "_logits", noted_logits)
    monkeypatch.setattr(vocabulary_module, "replace_by_gradient", noted_replace)
    monkeypatch.setitem(vocabulary_sizes.TILE_BYTES, "cpu", 3 * ROW_BYTES)
    vocabulary_loss(random_projection(17, 5, 1), [], random_targets(5), PUBLISHED, chunk_bytes=11 * ROW_BYTES)
    assert products == [8, 8, 1]
    assert softmaxes == [3, 3, 2, 3, 3, 2, 1]


@pytest.mark.parametrize("teacher_count", [0, 1])
def test_a_kernel_takes_a_chunk_at_a_time(teacher_count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that computes as the tiles do, of 17 rows in chunks of 8, with the padding of a GPU."""
    shapes = []

    def kernel(
        logits: Tensor, teacher_logits: Tensor | None, targets: Tensor, scales: TermScales, needs_gradient: bool
    ) -> Tensor:
        shapes.append((tuple(logits.shape), logits.stride(0), len(targets)))
        teacher_logits = None if teacher_logits is None else teacher_logits.clone()
        return vocabulary_module.replace_by_gradient(logits, teacher_logits, targets, scales, needs_gradient)

    monkeypatch.setattr(vocabulary_module, "vocabulary_kernel", lambda *_: kernel)
    teachers = [random_projection(17, 12, 2)] * teacher_count
    arguments = (random_projection(17, 5, 1), teachers, random_targets(10), PUBLISHED)
    assert_chunks_equal_the_formula(*arguments, chunk_bytes=11 * 4 * 64, word_multiple=64)
    assert shapes == [((8, VOCABULARY), 64, 8), ((8, VOCABULARY), 64, 2), ((1, VOCABULARY), 64, 0)]


def test_sums_of_many_tiles_in_half_precision_are_float32() -> None:
    student, teacher = (random_projection(512, 5, seed, torch.bfloat16) for seed in (1, 2))
    arguments = ([teacher], random_targets(128), PUBLISHED)
    exact_teacher = [teacher.to(torch.float64)]
    exact = with_gradients(reference_vocabulary_loss, student.to(torch.float64), exact_teacher, *arguments[1:])[1]
    found = with_gradients(vocabulary_loss, student, *arguments, chunk_bytes=128 * VOCABULARY, tile_bytes=ROW_BYTES)[1]
    for gradient, reference in zip(found[1:], exact[1:], strict=True):
        assert (gradient - reference).norm() < 0.01 * reference.norm()
