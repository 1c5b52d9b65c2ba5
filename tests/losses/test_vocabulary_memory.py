"""How much memory the loss stage needs beyond its inputs, outputs and gradients."""

import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fairseq_distil.losses import TermScales, VocabularyProjection, reference_vocabulary_loss, vocabulary_loss

from .projections import PUBLISHED

WIDTH = 5
CHUNK_BYTES, TILE_BYTES = 64 * 2**10, 8 * 2**10
limited_loss = partial(vocabulary_loss, chunk_bytes=CHUNK_BYTES, tile_bytes=TILE_BYTES)


class LiveBytes(TorchDispatchMode):
    """Follows the memory of every tensor that an operation makes, forward and backward, until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: tuple = (), keywords: dict | None = None
    ) -> Any:
        outputs = operation(*arguments, **(keywords or {}))
        given = {storage._cdata for storage in _storages((arguments, keywords))}
        made = {storage._cdata: storage for storage in _storages(outputs) if storage._cdata not in given}
        for storage in made.values():
            self._add(storage.nbytes())
            weakref.finalize(storage, self._add, -storage.nbytes())
        return outputs

    def _add(self, change: int) -> None:
        self.now += change
        self.peak = max(self.peak, self.now)


def _storages(tree: Any) -> Iterator[torch.UntypedStorage]:
    return (leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


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


def test_what_is_live_is_counted_once_and_until_it_is_released() -> None:
    given = torch.zeros(8)
    with LiveBytes() as live:
        first = given + 1
        views = [first.view(2, 4), given[2:]]
        first.mul_(2)
        assert (live.now, live.peak) == (32, 32)
        torch.add(first, 1, out=torch.empty(8))
        assert (live.now, live.peak) == (32, 64)
        del first
        assert live.now == 32  # a view has it
        del views
    assert (live.now, live.peak) == (0, 64)


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


@pytest.mark.parametrize(("rows", "vocabulary"), [(4096, 64), (1024, 256)])
def test_memory_of_the_plain_formula_grows_with_rows_times_vocabulary(rows: int, vocabulary: int) -> None:
    few, many = (working_bytes(reference_vocabulary_loss, *size) for size in ((1024, 64), (rows, vocabulary)))
    assert few > 4 * 4 * 1024 * 64  # several tensors of the size of the logits
    assert many > 3.5 * few
