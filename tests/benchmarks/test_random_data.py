"""Random data as the task reads it."""

from collections.abc import Callable

import torch


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
