"""Batches of items of similar length."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fairseq_distil.data.length_ordered_dataset import LengthOrderedDataset


class Texts:
    """Items of these sizes."""

    def __init__(self, sizes: NDArray[np.int64]) -> None:
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.zeros(int(self.sizes[index]), dtype=torch.int64)


@pytest.mark.parametrize(
    ("items", "max_sentences", "expected"),
    [(7, 8, [7]), (21, 8, [8, 8, 5]), (21, 16, [16, 5]), (21, 5, [5, 5, 5, 5, 1]), (16, 8, [8, 8]), (0, 8, [])],
)
def test_the_last_items_need_not_make_up_the_multiple(items: int, max_sentences: int, expected: list[int]) -> None:
    dataset = LengthOrderedDataset(Texts(np.full(items, 3)), shuffle_seed=1)
    batches = dataset.batch_by_size(dataset.ordered_indices(), None, max_sentences, required_batch_size_multiple=8)
    assert list(map(len, batches)) == expected


@pytest.mark.parametrize("multiple", [1, 3, 8])
def test_every_item_is_in_one_batch_that_keeps_the_limits(multiple: int) -> None:
    random = np.random.default_rng(multiple)
    for _ in range(200):
        sizes = random.integers(1, 20, random.integers(1, 60))
        max_tokens, max_sentences = int(random.integers(19, 90)), int(random.integers(1, 12))
        dataset = LengthOrderedDataset(Texts(sizes), shuffle_seed=2)
        indices = dataset.ordered_indices()
        batches = dataset.batch_by_size(indices, max_tokens, max_sentences, multiple)
        assert np.array_equal(np.concatenate(batches), indices)
        assert max(map(len, batches)) <= max_sentences
        assert max(len(batch) * sizes[batch].max() for batch in batches) <= max_tokens
