"""A batch of fewer masks is the batch that a lower rate would have made."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fairseq.data import ListDataset
from torch.utils._pytree import tree_map_only

from fairseq_distil.data.mask_thinning import LOWEST_RATES, thinned
from fairseq_distil.data.masked_lm_dataset import MaskedLMDataset
from fairseq_distil.data.masking import MaskingScheme

PADDING, MASK, VOCABULARY = 1, 46, 47
LENGTHS = [9, 17, 5, 13, 17, 6]
SCHEME = MaskingScheme(
    seed=7,
    mask_prob=0.6,
    leave_unmasked_prob=0.2,
    random_token_prob=0.2,
    mask_index=MASK,
    padding_index=PADDING,
    maskable=np.array([4 <= index < MASK for index in range(VOCABULARY)]),
)


def dataset_of(rate: float, is_to_be_thinned: bool = False) -> MaskedLMDataset:
    generator = torch.Generator().manual_seed(1)
    blocks = [torch.randint(4, MASK, (length,), generator=generator) for length in LENGTHS]
    scheme = replace(SCHEME, mask_prob=rate)
    return MaskedLMDataset(ListDataset(blocks, LENGTHS), scheme, shuffle_seed=3, is_to_be_thinned=is_to_be_thinned)


def batch_of(dataset: MaskedLMDataset, samples: int = len(LENGTHS)) -> dict:
    dataset.set_epoch(5)
    return dataset.collater([dataset[index] for index in range(samples)])


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.15, 0.45, 0.6])
@pytest.mark.parametrize("samples", [0, 1, len(LENGTHS)])
def test_it_is_the_batch_of_that_rate(rate: float, samples: int) -> None:
    batch = batch_of(dataset_of(0.6, is_to_be_thinned=True), samples)
    before = tree_map_only(torch.Tensor, torch.clone, batch)
    found = thinned(batch, rate, PADDING)
    assert found.pop("mask_prob") == rate
    expected = batch_of(dataset_of(rate), samples)
    assert found.keys() == expected.keys()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    # fairseq repeats the steps of an update that is not finite.
    torch.testing.assert_close(batch, before, rtol=0, atol=0)


def test_batches_tell_it_only_if_they_are_to_be_thinned() -> None:
    assert LOWEST_RATES not in batch_of(dataset_of(0.6))
    batch = batch_of(dataset_of(0.6, is_to_be_thinned=True))
    assert batch[LOWEST_RATES].shape == (len(batch["positions"]["masked"]),)
    assert 0 < batch[LOWEST_RATES].min() < batch[LOWEST_RATES].max() <= 0.6
