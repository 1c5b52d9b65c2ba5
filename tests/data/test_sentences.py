from collections.abc import Callable
from typing import Any

import pytest
import torch
from fairseq.data import Dictionary

from fairseq_distil.data.sentences import unmasked_sentences

SENTENCES = [[5, 6, 7, 2], [8, 2], [9, 10, 2]]


@pytest.fixture
def dictionary() -> Dictionary:
    return Dictionary()


def dataset(dictionary: Dictionary, **settings: bool) -> Any:
    return unmasked_sentences([torch.tensor(ids) for ids in SENTENCES], [4, 2, 3], dictionary, **settings)


def test_batch(dictionary: Dictionary) -> None:
    sentences = dataset(dictionary)
    batch = sentences.collater([sentences[index] for index in range(3)])
    assert batch["id"].tolist() == [0, 1, 2]
    assert batch["net_input"]["src_tokens"].tolist() == [[0, 5, 6, 7, 2], [0, 8, 2, 1, 1], [0, 9, 10, 2, 1]]
    assert batch["net_input"]["src_lengths"].tolist() == [5, 3, 4]


@pytest.mark.parametrize(("sort", "expected"), [(True, [1, 2, 0]), (False, [0, 1, 2])])
def test_order(dictionary: Dictionary, sort: bool, expected: list[int]) -> None:
    sentences = dataset(dictionary, sort=sort)
    assert sentences.ordered_indices().tolist() == expected
    assert [sentences.num_tokens(index) for index in range(3)] == [5, 3, 4]
    assert [sentences.size(index) for index in range(3)] == [5, 3, 4]


def test_through_the_task_and_its_model(setup_run: Callable) -> None:
    sizes = {"encoder_layers": 1, "encoder_embed_dim": 12, "dropout": 0.0}
    run = setup_run({"_name": "distil_encoder", **sizes}, sample_break_mode="eos")
    sentences = run.task.build_dataset_for_inference([torch.tensor(ids) for ids in SENTENCES], [4, 2, 3])
    iterator = run.task.get_batch_iterator(sentences, max_sentences=2, required_batch_size_multiple=1)
    run.model.eval()
    for batch in iterator.next_epoch_itr(shuffle=False):
        logits = run.model(**batch["net_input"])[0]
        for row, index in zip(logits, batch["id"].tolist(), strict=True):
            alone = run.model(torch.tensor([[0, *SENTENCES[index]]]))[0][0]
            torch.testing.assert_close(row[: len(alone)], alone, rtol=1e-5, atol=1e-6)
