from pathlib import Path

import pytest
import torch

from fairseq_distil.data.question_answering_dataset import QuestionAnsweringDataset, load_windows

PAD = 1


@pytest.fixture
def dataset(squad_data: Path) -> QuestionAnsweringDataset:
    return load_windows(str(squad_data / "train"), "train", 45, PAD, seed=3)


def test_a_batch(dataset: QuestionAnsweringDataset) -> None:
    batch = dataset.collater([dataset[index] for index in (3, 2)])
    tokens = batch["net_input"]["src_tokens"]
    assert tokens.shape == (2, 16) and tokens[0, 15] == PAD and tokens[1].ne(PAD).all()
    assert torch.equal(tokens[0, :15], dataset[3][1]) and torch.equal(tokens[1], dataset[2][1])
    assert batch["net_input"]["src_lengths"].tolist() == [15, 16]
    assert batch["net_input"]["has_padding"]
    assert batch["target"].tolist() == dataset.split.windows[[3, 2], 3:].tolist()
    assert batch["context_starts"].tolist() == [5, 5]
    counts = {name: batch[name] for name in ("split", "nsentences", "ntokens", "answers")}
    assert counts == {"split": "train", "nsentences": 2, "ntokens": 31, "answers": 2}
    assert batch["id"].tolist() == [3, 2]


def test_batches_hold_windows_of_similar_length(dataset: QuestionAnsweringDataset) -> None:
    order = dataset.ordered_indices()
    assert sorted(order) == list(range(36))
    assert dataset.sizes[order].tolist() == [15] * 18 + [16] * 18
    assert order.tolist() != sorted(range(36), key=lambda index: dataset.sizes[index])


def test_a_batch_of_nothing_has_no_loss(dataset: QuestionAnsweringDataset) -> None:
    batch = dataset.collater([])
    assert (batch["nsentences"], batch["ntokens"], batch["answers"]) == (0, 0, 0)
    assert batch["target"].tolist() == [[-1, -1]]
    # its only token is no context, so that no span is in it
    assert batch["net_input"]["src_tokens"].shape == (1, 1) and batch["context_starts"].tolist() == [1]
