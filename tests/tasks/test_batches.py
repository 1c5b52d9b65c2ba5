"""The batches of the task, through fairseq's own iterators."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fairseq_distil.data.tokenizers import WordPieceTokenizer

PADDING = 1


def samples(batches: Iterator[dict]) -> dict[int, tuple[list[int], list[int]]]:
    """Inputs and targets by the ids of their samples, without the padding."""
    return {
        index: (tokens[:length].tolist(), target[:length].tolist())
        for batch in batches
        for index, length, tokens, target in zip(
            batch["id"].tolist(),
            batch["net_input"]["src_lengths"].tolist(),
            batch["net_input"]["src_tokens"],
            batch["target"],
            strict=True,
        )
    }


def original(tokens: list[int], target: list[int]) -> list[int]:
    return [token if kept == PADDING else kept for token, kept in zip(tokens, target, strict=True)]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_masks_differ_by_epoch_through_fairseqs_iterator(
    setup_task: Callable, num_workers: int, iterator: Callable
) -> None:
    """With num_workers, fairseq would keep the workers of the first epoch, whose dataset is of the first epoch."""
    task = setup_task()
    task.load_dataset("train")
    epochs = iterator(task, num_workers=num_workers, epoch=1)
    first, second, third = (samples(epochs.next_epoch_itr()) for _ in range(3))
    assert first.keys() == second.keys() == third.keys() == set(range(len(task.dataset("train"))))
    for one, other in ((first, second), (second, third), (first, third)):
        assert sum(one[index][1] != other[index][1] for index in one) > 0.9 * len(one)
        assert all(original(*one[index]) == original(*other[index]) for index in one)


def test_masks_do_not_depend_on_workers_or_batches(setup_task: Callable, iterator: Callable) -> None:
    def third_epoch(max_sentences: int, num_workers: int) -> dict:
        task = setup_task(sample_break_mode="eos")
        task.load_dataset("train")
        epochs = iterator(task, max_sentences=max_sentences, num_workers=num_workers, epoch=3)
        return samples(epochs.next_epoch_itr())

    expected = third_epoch(max_sentences=4, num_workers=0)
    assert third_epoch(max_sentences=7, num_workers=0) == expected
    assert third_epoch(max_sentences=4, num_workers=2) == expected


@pytest.mark.parametrize("num_workers", [0, 1])
def test_masks_go_on_where_a_resumed_epoch_stopped(setup_task: Callable, num_workers: int, iterator: Callable) -> None:
    task = setup_task()
    task.load_dataset("train")
    epochs = iterator(task, num_workers=num_workers)
    list(epochs.next_epoch_itr())
    batches = epochs.next_epoch_itr().skip(3)
    state = epochs.state_dict()
    expected = samples(batches)
    del batches  # and with it its worker

    resumed_task = setup_task()
    resumed_task.load_dataset("train")
    resumed = iterator(resumed_task, num_workers=num_workers, epoch=state["epoch"])
    resumed.load_state_dict(state)
    assert state["epoch"] == 2 and expected
    assert samples(resumed.next_epoch_itr()) == expected


def test_validation_masks_are_the_same_in_every_epoch(setup_task: Callable, iterator: Callable) -> None:
    task = setup_task()
    task.load_dataset("valid")

    def validate() -> dict:
        # The trainer passes epoch 1 always, and leaves the data set's epoch as it is.
        epochs = iterator(task, "valid", epoch=1, disable_iterator_cache=False)
        return samples(epochs.next_epoch_itr(shuffle=False, set_dataset_epoch=False))

    first = validate()
    task.load_dataset("train")
    list(iterator(task, epoch=5).next_epoch_itr())
    assert validate() == first


def test_seeds_differ(setup_task: Callable, iterator: Callable) -> None:
    first, again, second = (setup_task(common={"seed": seed}) for seed in (1, 1, 2))
    for task in (first, again, second):
        task.load_dataset("train")
    masks = [samples(iterator(task).next_epoch_itr()) for task in (first, again, second)]
    assert masks[0] == masks[1] != masks[2]


def test_directories_take_turns(setup_task: Callable, write_data: Callable, tmp_path: Path) -> None:
    one = write_data(tmp_path / "one", {"train": [[5, 6, 7]], "valid": [[20]]})
    two = write_data(tmp_path / "two", {"train": [[8, 9]]})
    task = setup_task(data=f"{one}:{two}", sample_break_mode="eos")
    lines = []
    for epoch in (1, 2, 3):
        task.load_dataset("train", epoch=epoch)
        lines.append(task.dataset("train").tokens[0].tolist())
    assert lines == [[0, 5, 6, 7, 2], [0, 8, 9, 2], [0, 5, 6, 7, 2]]
    task.load_dataset("valid", epoch=1)
    assert task.has_sharded_data("train")


@pytest.mark.parametrize("break_mode", ["none", "complete", "complete_doc", "eos"])
def test_every_break_mode_keeps_the_text(
    setup_task: Callable, random_lines: list, break_mode: str, iterator: Callable
) -> None:
    task = setup_task(sample_break_mode=break_mode)
    task.load_dataset("train")
    batches = samples(iterator(task, ignore_invalid_inputs=False).next_epoch_itr(shuffle=False))
    texts = [original(*batches[index]) for index in range(len(batches))]
    assert all(text[0] == 0 and len(text) <= 17 for text in texts)
    words = [token for text in texts for token in text if token > 3]
    expected = [token for line in random_lines for token in line]
    assert words == expected
    if break_mode == "none":
        assert {len(text) for text in texts[:-1]} == {17}
    else:
        assert all(text[-1] == 2 for text in texts)


def test_settings_reach_the_masks(setup_task: Callable, iterator: Callable) -> None:
    task = setup_task(mask_prob=0.5, leave_unmasked_prob=0.0, random_token_prob=0.0)
    task.load_dataset("train")
    batches = samples(iterator(task).next_epoch_itr()).values()
    pairs = [pair for tokens, target in batches for pair in zip(tokens, target, strict=True)]
    selected = [token for token, target in pairs if target != PADDING]
    assert set(selected) == {45}  # <mask>, the last symbol
    assert len(selected) / len(pairs) == pytest.approx(0.5, abs=0.04)
    assert not any(target in (0, 2, 3, 45) for _, target in pairs)


def test_whole_words_are_those_of_the_datas_tokenizer(
    setup_task: Callable, write_data: Callable, tmp_path: Path, iterator: Callable
) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able", "fox"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n")
    data = write_data(tmp_path / "data", {"train": 30 * [[4, 5, 6, 7, 7, 4, 6]]}, symbols=pieces[5:])
    WordPieceTokenizer(tmp_path / "vocab.txt").save(Path(data))
    task = setup_task(data=data, mask_whole_words=True, sample_break_mode="eos", mask_prob=0.4)
    task.load_dataset("train")
    targets = [
        [token != PADDING for token in target] for _, target in samples(iterator(task).next_epoch_itr()).values()
    ]
    assert any(any(target) for target in targets)
    for target in targets:
        assert target[1] == target[2] == target[3]
        assert target[6] == target[7]
    assert any(target[4] != target[5] for target in targets)
