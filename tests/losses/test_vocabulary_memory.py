"""How much memory the loss stage needs beyond its inputs, outputs and gradients."""

from collections.abc import Callable
from functools import partial

import pytest
import torch

from fairseq_distil.losses import TermScales, VocabularyProjection, reference_vocabulary_loss, vocabulary_loss

from .live_bytes import LiveBytes
from .projections import PUBLISHED

WIDTH = 5
CHUNK_BYTES, TILE_BYTES = 64 * 2**10, 8 * 2**10
limited_loss = partial(vocabulary_loss, chunk_bytes=CHUNK_BYTES, tile_bytes=TILE_BYTES)


def projection(rows: int, vocabulary: int, dtype: torch.dtype, seed: int) -> VocabularyProjection:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((rows, WIDTH), (vocabulary, WIDTH), (vocabulary,))
    return VocabularyProjection(*(torch.randn(shape, generator=generator).to(dtype) for shape in shapes))


def working_bytes(
    loss: Callable, rows: int, vocabulary: int, scales: TermScales = PUBLISHED, dtype: torch.dtype = torch.float32
) -> int:
    """The most that was live at once, without the gradients, which are needed; inputs were there before."""
    student = VocabularyProjection(*(tensor.requires_grad_() for tensor in projection(rows, vocabulary, dtype, seed=1)))
    teachers = [projection(rows, vocabulary, dtype, seed) for seed in range(2, 2 + len(scales.teacher_weights))]
    targets = torch.arange(rows // 4) % vocabulary
    with LiveBytes() as live:
        gradients = torch.autograd.grad(loss(student, teachers, targets, scales).total, student)
    needed = sum(gradient.nbytes for gradient in gradients)
    assert live.now == needed  # all else has been released
    return live.peak - needed


SETTINGS = pytest.mark.parametrize(
    ("dtype", "top_k", "weights"),
    [
        (torch.float32, None, (1.0,)),
        (torch.float32, 3, (1.0,)),
        (torch.float32, None, (0.5, 0.3, 0.2)),
        (torch.bfloat16, None, (1.0,)),
    ],
    ids=["published", "top k", "three teachers", "bfloat16"],
)


@SETTINGS
def test_memory_does_not_grow_with_rows(dtype: torch.dtype, top_k: int | None, weights: tuple[float, ...]) -> None:
    scales = PUBLISHED._replace(top_k=top_k, teacher_weights=weights)
    few, many = (working_bytes(limited_loss, rows, 64, scales, dtype) for rows in (1024, 4096))
    assert many == few


@pytest.mark.parametrize(("rows", "vocabulary"), [(1024, 256), (4096, 256), (1024, 512)])
def test_memory_stays_within_the_budget(rows: int, vocabulary: int) -> None:
    """A chunk of logits of student and teacher, and some tiles."""
    assert working_bytes(limited_loss, rows, vocabulary) < 2 * CHUNK_BYTES + 8 * TILE_BYTES


@pytest.mark.parametrize("weights", [(1.0,), (0.5, 0.3, 0.2)])
def test_the_likeliest_words_take_half_of_it(weights: tuple[float, ...]) -> None:
    """The teachers' logits are gone when the student's come: chunks of as many models as are held at a time."""
    few_words, all_words = (
        working_bytes(limited_loss, 4096, 256, PUBLISHED._replace(top_k=top_k, teacher_weights=weights))
        for top_k in (3, None)
    )
    assert few_words < len(weights) * CHUNK_BYTES + 9 * TILE_BYTES
    assert few_words < all_words - 0.8 * CHUNK_BYTES


@pytest.mark.parametrize(("rows", "vocabulary"), [(4096, 64), (1024, 256)])
def test_memory_of_the_plain_formula_grows_with_rows_times_vocabulary(rows: int, vocabulary: int) -> None:
    few, many = (working_bytes(reference_vocabulary_loss, *size) for size in ((1024, 64), (rows, vocabulary)))
    assert few > 4 * 4 * 1024 * 64  # several tensors of the size of the logits
    assert many > 3.5 * few
