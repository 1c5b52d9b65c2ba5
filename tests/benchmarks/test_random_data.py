"""Random data as the task reads it."""

from collections.abc import Callable
from pathlib import Path

import torch
from fairseq.data import Dictionary, data_utils

from fairseq_distil.benchmarks.random_data import write_random_data
from fairseq_distil.benchmarks.training_step import TrainingStep


def test_full_samples_of_the_whole_vocabulary(tiny_case: Callable, parts_of: Callable) -> None:
    case = tiny_case()
    task = parts_of(case).task
    dataset = task.dataset("train")
    assert len(task.source_dictionary) == case.vocab
    assert dataset.sizes.tolist() == [case.length] * 4 * case.batch
    samples = torch.stack([tokens for _, tokens in dataset])
    assert samples[:, 0].unique().tolist() == [task.source_dictionary.bos()]
    assert samples[:, -1].unique().tolist() == [task.source_dictionary.eos()]
    ordinary = samples[:, 1:-1]
    assert ordinary.min() >= task.source_dictionary.nspecial and ordinary.max() < task.mask_idx
    assert len(ordinary.unique()) > 35  # of 45


def test_samples_of_different_lengths(tiny_case: Callable, parts_of: Callable) -> None:
    case = tiny_case(padding=0.3)
    parts = parts_of(case)
    batch = TrainingStep(parts, case)._next_batch()
    assert batch["net_input"]["src_lengths"].tolist() == case.lengths == [10, 7, 4]
    ends = batch["net_input"]["src_tokens"].gather(1, batch["net_input"]["src_lengths"][:, None] - 1)
    targets = batch["target"].gather(1, batch["net_input"]["src_lengths"][:, None] - 1)
    eos = parts.task.source_dictionary.eos()
    assert torch.where(targets.eq(parts.task.source_dictionary.pad()), ends, targets).unique().tolist() == [eos]


def test_the_words_of_a_sample_are_of_one_topic(tmp_path: Path) -> None:
    write_random_data(tmp_path, vocabulary_size=50, lengths=[30], sequences=40, topics=8)
    dictionary = Dictionary.load(str(tmp_path / "dict.txt"))
    samples = data_utils.load_indexed_dataset(str(tmp_path / "train"), dictionary)
    topics = [set(((sample[:-1] - dictionary.nspecial) % 8).tolist()) for sample in samples]
    assert all(len(of_one) == 1 for of_one in topics)
    assert len(set.union(*topics)) == 8
    words = {word for sample in samples for word in sample[:-1].tolist()}
    assert len(words) == 40 and max(words) < len(dictionary)
