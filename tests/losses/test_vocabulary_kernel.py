"""The kernel against the tile that it stands for.

``TRITON_INTERPRET=1`` runs it on a CPU, where triton is installed (and with triton 3.6, numpy before 2.4).
"""

import os
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor

from fairseq_distil.losses import TermScales, VocabularyProjection, reference_vocabulary_loss, vocabulary_loss
from fairseq_distil.losses.kernels import vocabulary_kernel
from fairseq_distil.losses.vocabulary_tile import replace_by_gradient

from .projections import PUBLISHED, VOCABULARY, assert_equal_losses, random_projection, random_targets, with_gradients

HAS_GPU = torch.cuda.is_available()
pytestmark = pytest.mark.skipif(
    find_spec("triton") is None or not (HAS_GPU or os.environ.get("TRITON_INTERPRET") == "1"),
    reason="needs triton, and a GPU or TRITON_INTERPRET=1",
)
DEVICE = "cuda" if HAS_GPU else "cpu"
ROWS = 7


def random_logits(seed: int, dtype: torch.dtype = torch.float32, words: int = VOCABULARY) -> Tensor:
    return (4 * torch.randn(ROWS, words, generator=torch.Generator().manual_seed(seed))).to(DEVICE, dtype)


def run_kernel(*arguments: object) -> Tensor:
    from fairseq_distil.losses.vocabulary_kernel import replace_rows_by_gradient

    return replace_rows_by_gradient(*arguments)


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """47 words are two blocks of 16 and one of 15."""
    monkeypatch.setattr("fairseq_distil.losses.vocabulary_kernel.COLUMNS_AT_A_TIME", 16)


@pytest.mark.parametrize("needs_gradient", [True, False])
@pytest.mark.parametrize("has_teacher", [True, False])
@pytest.mark.parametrize("masked_rows", [0, 3, ROWS])
@pytest.mark.parametrize(
    "scales",
    [PUBLISHED, TermScales(0.5, 0.0, 3.0), TermScales(8.0, 2.5, 0.0), TermScales(2.0, -5.0, 1.5)],
    ids=str,
)
def test_equals_the_tile(scales: TermScales, masked_rows: int, has_teacher: bool, needs_gradient: bool) -> None:
    logits, teacher = random_logits(1), random_logits(2) if has_teacher else None
    rest = random_targets(masked_rows).to(DEVICE), scales, needs_gradient
    gradient, expected_gradient = logits.clone(), logits.clone()
    sums = run_kernel(gradient, teacher, *rest)
    expected = replace_by_gradient(expected_gradient, None if teacher is None else teacher.clone(), *rest)
    torch.testing.assert_close(sums, expected, rtol=1e-5, atol=1e-4)
    if needs_gradient:
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-5)
    else:
        assert gradient.equal(logits)
    assert teacher is None or teacher.equal(random_logits(2))


@pytest.mark.parametrize("words", [2, 16, 30])
def test_other_vocabularies(words: int) -> None:
    gradient, teacher = random_logits(1, words=words), random_logits(2, words=words)
    expected_gradient, rest = gradient.clone(), (random_targets(3).to(DEVICE) % words, PUBLISHED, True)
    sums = run_kernel(gradient, teacher, *rest)
    torch.testing.assert_close(sums, replace_by_gradient(expected_gradient, teacher, *rest), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("needs_gradient", [True, False])
def test_rows_with_padding(needs_gradient: bool) -> None:
    """Whatever is in the padding is left out, and replaced by a gradient of 0."""
    student, teacher = random_logits(1, words=64), random_logits(2, words=64)
    rest = (random_targets(3).to(DEVICE), PUBLISHED, needs_gradient)
    expected_gradient, words = student[:, :VOCABULARY].clone(), slice(VOCABULARY)
    expected = replace_by_gradient(expected_gradient, teacher[:, words].clone(), *rest)
    before = student.clone()
    torch.testing.assert_close(run_kernel(student[:, words], teacher[:, words], *rest), expected, rtol=1e-5, atol=1e-4)
    if needs_gradient:
        torch.testing.assert_close(student[:, words], expected_gradient, rtol=1e-5, atol=1e-5)
        assert student[:, VOCABULARY:].eq(0).all() or not HAS_GPU  # the interpreter works on a copy of the words alone
    else:
        assert student.equal(before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_two_bytes_are_computed_in_float32(dtype: torch.dtype) -> None:
    gradient, teacher = random_logits(1, dtype), random_logits(2, dtype)
    exact_gradient, rest = gradient.float(), (random_targets(3).to(DEVICE), PUBLISHED, True)
    sums = run_kernel(gradient, teacher, *rest)
    torch.testing.assert_close(sums, replace_by_gradient(exact_gradient, teacher.float(), *rest), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(gradient, exact_gradient.to(dtype), rtol=2 * torch.finfo(dtype).eps, atol=1e-6)


def test_the_first_of_equal_logits_is_chosen() -> None:
    """Words 20 and 40 are in different blocks, 20 and 21 in one."""
    logits = torch.zeros(2, VOCABULARY, device=DEVICE)
    logits[:, [20, 21, 40]] = 5.0
    sums = run_kernel(logits, logits.clone(), torch.tensor([20, 20], device=DEVICE), PUBLISHED, False)
    assert sums[2:].tolist() == [2, 2]


def test_logits_that_are_not_numbers_are_seen() -> None:
    logits = random_logits(1)
    logits[2, 40] = torch.nan
    sums = run_kernel(logits, random_logits(2), random_targets(3).to(DEVICE), PUBLISHED, True)
    assert sums[:2].isnan().all()
    assert logits[2].isnan().all()


def test_large_logits_keep_their_digits() -> None:
    """1,024 more for all of them, which leaves 13 bits for what is behind the point: enough for quarters."""
    quarters, targets = (4 * random_logits(1)).round() / 4, random_targets(3).to(DEVICE)
    near, far = (run_kernel(quarters + offset, None, targets, PUBLISHED, False) for offset in (0, 1024))
    torch.testing.assert_close(far, near, rtol=1e-6, atol=0)


def test_words_that_are_impossible() -> None:
    """The whole first block, as by a bias of minus infinity."""
    gradient = random_logits(1)
    gradient[:, :16] = -torch.inf
    expected_gradient, rest = gradient.clone(), (torch.full((ROWS,), 20, device=DEVICE), PUBLISHED, True)
    sums = run_kernel(gradient, None, *rest)
    torch.testing.assert_close(sums, replace_by_gradient(expected_gradient, None, *rest), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-5)
    assert gradient[:, :16].eq(0).all()


def test_targets_that_are_not_contiguous() -> None:
    targets = random_targets(3).to(DEVICE)
    apart = targets.repeat_interleave(2)[::2]
    one, other = (run_kernel(random_logits(1), None, ids, PUBLISHED, False) for ids in (targets, apart))
    assert one.equal(other)


@pytest.mark.skipif(not HAS_GPU, reason="needs a GPU")
@pytest.mark.parametrize("has_teacher", [True, False])
def test_the_loss_on_a_gpu_is_the_formula_of_a_cpu(has_teacher: bool) -> None:
    assert vocabulary_kernel(random_logits(1), 1, PUBLISHED) is not None
    teachers = [random_projection(17, 13, 2)] if has_teacher else []
    arguments = (random_projection(17, 12, 1), teachers, random_targets(5), PUBLISHED)
    on_gpu = [
        VocabularyProjection(*(tensor.cuda() for tensor in arguments[0])),
        [VocabularyProjection(*(tensor.cuda() for tensor in teacher)) for teacher in teachers],
        arguments[2].cuda(),
        PUBLISHED,
    ]
    losses, gradients = with_gradients(vocabulary_loss, *on_gpu, chunk_bytes=5 * 4 * 64)
    assert_equal_losses(
        ([value.cpu() for value in losses], [gradient.cpu() for gradient in gradients]),
        with_gradients(reference_vocabulary_loss, *arguments),
        atol=1e-3,
        rtol=1e-4,
    )
