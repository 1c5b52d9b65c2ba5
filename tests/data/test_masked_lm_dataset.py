from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from fairseq.data import FairseqDataset, ListDataset
from torch.utils.data import DataLoader

from fairseq_distil.data.binarized_check import require_ids_in_vocabulary
from fairseq_distil.data.masked_lm_dataset import MaskedLMDataset
from fairseq_distil.data.masking import MaskingScheme
from fairseq_distil.errors import UserError

PADDING, MASK, VOCABULARY = 1, 46, 47
LENGTHS = [9, 17, 5, 9, 13, 17, 9, 6, 17, 11, 9]


@pytest.fixture
def make_dataset() -> Callable[..., MaskedLMDataset]:
    scheme = MaskingScheme(
        seed=7,
        mask_prob=0.3,
        leave_unmasked_prob=0.1,
        random_token_prob=0.1,
        mask_index=MASK,
        padding_index=PADDING,
        maskable=np.array([4 <= index < MASK for index in range(VOCABULARY)]),
    )
    generator = torch.Generator().manual_seed(1)
    blocks = [torch.randint(4, MASK, (length,), generator=generator) for length in LENGTHS]
    return lambda *rest: MaskedLMDataset(ListDataset(blocks, LENGTHS), scheme, 3, *rest)


@pytest.fixture
def dataset(make_dataset: Callable[..., MaskedLMDataset]) -> MaskedLMDataset:
    return make_dataset()


def collate(dataset: FairseqDataset, *indices: int) -> dict:
    return dataset.collater([dataset[index] for index in indices])


def test_batch(dataset: MaskedLMDataset) -> None:
    batch = collate(dataset, 7, 1, 2)
    tokens, target = batch["net_input"]["src_tokens"], batch["target"]
    assert batch["id"].tolist() == [7, 1, 2]
    assert (batch["nsentences"], batch["ntokens"]) == (3, 6 + 17 + 5)
    assert batch["net_input"]["src_lengths"].tolist() == [6, 17, 5]
    assert tokens.shape == target.shape == (3, 17)
    assert tokens.ne(PADDING).sum(1).tolist() == [6, 17, 5]
    for row, index in enumerate([7, 1, 2]):
        selected = target[row].ne(PADDING)
        restored = torch.where(selected, target[row], tokens[row])
        assert torch.equal(restored[: LENGTHS[index]], dataset.tokens[index])
        assert selected.sum().item() in (int(0.3 * LENGTHS[index]), int(0.3 * LENGTHS[index]) + 1)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_id_beyond_the_dictionary_is_one_line(
    make_dataset: Callable[..., MaskedLMDataset], num_workers: int
) -> None:
    """Also from a data worker, whose errors torch tells with its traceback."""
    dataset = make_dataset(partial(require_ids_in_vocabulary, "data-bin/train", MASK))
    dataset.tokens[9][2] = MASK
    batches = iter(DataLoader(dataset, 3, collate_fn=dataset.collater, num_workers=num_workers))
    assert [next(batches)["nsentences"] for _ in range(3)] == [3, 3, 3]
    with pytest.raises(UserError) as refused:
        next(batches)
    assert str(refused.value) == (
        "data data-bin/train.bin: holds id 46, but dict.txt ends at 45; the dictionary is not the one that it was "
        "prepared with"
    )


def test_positions_are_those_of_the_masked_and_of_the_other_tokens(dataset: MaskedLMDataset) -> None:
    batch = collate(dataset, 7, 1, 2)
    masked, unmasked = batch["positions"]["masked"], batch["positions"]["unmasked"]
    assert torch.equal(masked, batch["target"].flatten().ne(PADDING).nonzero()[:, 0])
    is_token = batch["net_input"]["src_tokens"].flatten().ne(PADDING)
    assert torch.equal(torch.cat([masked, unmasked]).sort().values, is_token.nonzero()[:, 0])
    assert len(masked) + len(unmasked) == batch["ntokens"]


@pytest.mark.parametrize(("indices", "has_padding"), [((0, 3, 6), False), ((1,), False), ((0, 2), True)])
def test_padding_flag(dataset: MaskedLMDataset, indices: tuple[int, ...], has_padding: bool) -> None:
    batch = collate(dataset, *indices)
    assert batch["net_input"]["has_padding"] is has_padding
    is_padding = batch["net_input"]["src_tokens"].eq(PADDING)
    assert is_padding.any().item() is has_padding
    assert batch["net_input"]["token_count"] == (~is_padding).sum().item()


def test_a_batch_of_nothing_counts_nowhere(dataset: MaskedLMDataset) -> None:
    batch = dataset.collater([])
    assert (
        batch.keys() == collate(dataset, 1).keys()
        and batch["net_input"].keys() == collate(dataset, 1)["net_input"].keys()
    )
    assert (batch["nsentences"], batch["ntokens"], len(batch["id"])) == (0, 0, 0)
    assert batch["net_input"]["src_tokens"].tolist() == batch["target"].tolist() == [[PADDING]]
    assert not any(len(positions) for positions in batch["positions"].values())


def test_sizes(dataset: MaskedLMDataset) -> None:
    assert len(dataset) == len(LENGTHS)
    assert [dataset.size(index) for index in range(len(dataset))] == LENGTHS
    assert [dataset.num_tokens(index) for index in range(len(dataset))] == LENGTHS
    assert dataset.num_tokens_vec(np.array([1, 2])).tolist() == [17, 5]


def test_order_is_by_length_and_shuffled_within(dataset: MaskedLMDataset) -> None:
    order = dataset.ordered_indices()
    assert sorted(order) == list(range(len(LENGTHS)))
    assert [LENGTHS[index] for index in order] == sorted(LENGTHS)
    assert order.tolist() != sorted(range(len(LENGTHS)), key=LENGTHS.__getitem__)
    assert order.tolist() == dataset.ordered_indices().tolist()


def test_masks_follow_the_epoch_and_start_with_the_first(make_dataset: Callable[[], MaskedLMDataset]) -> None:
    dataset = make_dataset()
    targets = {None: collate(dataset, 1, 4)["target"]}
    for epoch in (1, 2, 3, 2):
        dataset.set_epoch(epoch)
        target = collate(dataset, 1, 4)["target"]
        assert torch.equal(target, targets.setdefault(epoch, target))
    assert torch.equal(targets[None], targets[1])
    assert not torch.equal(targets[1], targets[2]) and not torch.equal(targets[2], targets[3])


@pytest.mark.parametrize("epoch", [1, 2])
def test_masks_are_the_same_with_any_number_of_workers(make_dataset: Callable[[], MaskedLMDataset], epoch: int) -> None:
    def batches(workers: int, batch_size: int) -> dict[int, tuple[list[int], list[int]]]:
        dataset = make_dataset()
        dataset.set_epoch(epoch)
        loader = torch.utils.data.DataLoader(dataset, batch_size, num_workers=workers, collate_fn=dataset.collater)
        return {
            index: (inputs[: LENGTHS[index]].tolist(), target[: LENGTHS[index]].tolist())
            for batch in loader
            for index, inputs, target in zip(
                batch["id"].tolist(), batch["net_input"]["src_tokens"], batch["target"], strict=True
            )
        }

    expected = batches(workers=0, batch_size=4)
    assert len(expected) == len(LENGTHS)
    assert batches(workers=2, batch_size=4) == expected
    assert batches(workers=0, batch_size=3) == expected


def test_masks_repeat(make_dataset: Callable[..., MaskedLMDataset]) -> None:
    """Those of epochs 1 to 3 are those of a data set whose masks do not, and come again in epochs 4 to 6."""
    plain, repeated = make_dataset(), make_dataset(None, False, 3)
    for epoch in range(1, 8):
        plain.set_epoch((epoch - 1) % 3 + 1)
        repeated.set_epoch(epoch)
        expected, found = collate(plain, 7, 1, 2), collate(repeated, 7, 1, 2)
        assert torch.equal(found["net_input"]["src_tokens"], expected["net_input"]["src_tokens"])
        assert torch.equal(found["target"], expected["target"])
        assert "mask_epoch" not in expected and found["mask_epoch"] == repeated.mask_epoch == (epoch - 1) % 3 + 1
    assert repeated.collater([])["mask_epoch"] == 1
