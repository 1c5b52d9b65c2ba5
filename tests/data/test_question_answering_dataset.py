import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fairseq_distil.data.question_answering_dataset import QuestionAnsweringDataset, load_windows
from fairseq_distil.errors import UserError

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
    assert batch["net_input"]["has_padding"] and batch["net_input"]["token_count"] == 31
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


@pytest.fixture
def damaged(squad_data: Path, tmp_path: Path) -> Callable[..., str]:
    """Copies a split with one number of its table changed; returns its path."""

    def damage(column: int, value: int) -> str:
        for file in squad_data.glob("train.*"):
            shutil.copy(file, tmp_path)
        table = np.load(tmp_path / "train.windows.npy")
        table[7, column] = value
        np.save(tmp_path / "train.windows.npy", table)
        return str(tmp_path / "train")

    return damage


@pytest.mark.parametrize(
    ("column", "value"),
    [(0, -1), (1, 0), (1, 16), (2, -1), (2, 10**6), (3, -1), (3, -2), (4, 16), (4, 10**6), (4, -1)],
)
def test_a_table_that_points_outside_of_its_windows(damaged: Callable[..., str], column: int, value: int) -> None:
    with pytest.raises(UserError, match="data .*train.windows.npy: window 7 points outside of its text; prepare the"):
        load_windows(damaged(column, value), "train", 45, PAD, seed=3)


def test_a_question_that_is_not_there(damaged: Callable[..., str]) -> None:
    split = load_windows(damaged(0, 10**6), "train", 45, PAD, seed=3).split
    with pytest.raises(UserError, match="data .*train.questions.json: not the questions of these windows"):
        split.gold_answers(0)
