"""The largest logits by blocks against a plain sort."""

import pytest
import torch
from torch import Tensor

from fairseq_distil.losses.likeliest_words import likeliest_words


def assert_largest(logits: Tensor, count: int) -> None:
    words = likeliest_words(logits, count)
    assert words.shape == (logits.size(0), count)
    assert all(len(set(row)) == count for row in words.tolist())
    found = logits.gather(1, words).sort(descending=True).values
    assert torch.equal(found, logits.sort(descending=True).values[:, :count])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("count", [1, 2, 7, 46, 47, 100, 997])
@pytest.mark.parametrize("vocabulary", [997, 1000, 47, 5])
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_random_logits(rows: int, vocabulary: int, count: int, dtype: torch.dtype) -> None:
    """Of 997 words in bfloat16 many are equal. No block divides 997."""
    logits = torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(1)).to(dtype)
    assert_largest(logits, min(count, vocabulary))


@pytest.mark.parametrize("count", [1, 3, 10])
def test_wherever_they_are(count: int) -> None:
    """Neighbours, one of each block, all of one block, the left over, and all words equal; some impossible."""
    places = [range(first, first + count) for first in range(0, 101 - count, 5)]
    places += [range(0, count * step, step) for step in (101 // 3, 101 // 5, 101 // 10) if count * step <= 101]
    places += [range(101 - count, 101), range(101)]
    logits = torch.zeros(len(places), 101)
    for row, words in enumerate(places):
        logits[row, list(words)] = 1
    assert_largest(logits, count)
    assert_largest(logits.log(), count)
