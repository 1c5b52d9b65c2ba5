"""An epoch that was stopped goes on with its other samples and their masks, whatever the workers and batches."""

import random
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest
from fairseq.data.iterators import GroupedIterator
from fairseq.tasks import FairseqTask

from fairseq_distil.errors import UserError

Sample = tuple[int, tuple[int, ...], tuple[int, ...]]
Update = list[Sample]


def samples(batch: dict) -> Update:
    """Ids, inputs and targets of a batch, without the padding."""
    lengths = batch["net_input"]["src_lengths"].tolist()
    rows = zip(batch["id"].tolist(), lengths, batch["net_input"]["src_tokens"], batch["target"], strict=False)
    return [
        (index, tuple(tokens[:length].tolist()), tuple(target[:length].tolist()))
        for index, length, tokens, target in rows
    ]


class Workers:
    """Several workers' iterators over the training data, at fairseq's own steps."""

    def __init__(
        self, make_task: Callable, iterator: Callable, workers: int, update_freq: int, state: dict | None, **sizes: int
    ) -> None:
        tasks: list[FairseqTask] = [make_task(update_freq) for _ in range(workers)]
        self.update_freq = update_freq
        self.epochs = []
        for rank, task in enumerate(tasks):
            task.load_dataset("train")
            epoch = state["epoch"] if state else 1
            self.epochs.append(iterator(task, num_shards=workers, shard_id=rank, epoch=epoch, **sizes))
            if state:
                self.epochs[-1].load_state_dict(state)

    def updates(self, shuffle: bool = True) -> Iterator[Update]:
        """The samples of each update of an epoch, in the order of their ids."""
        groups = [GroupedIterator(epochs.next_epoch_itr(shuffle), self.update_freq) for epochs in self.epochs]
        assert len({len(group) for group in groups}) == 1
        self.first_update, self.total_updates = groups[0].n, len(groups[0])
        while groups[0].has_next():
            yield sorted(row for group in groups for batch in next(group) for row in samples(batch))
        assert all(epochs.end_of_epoch() for epochs in self.epochs)

    def state(self) -> dict:
        states = [epochs.state_dict() for epochs in self.epochs]
        assert all(str(state) == str(states[0]) for state in states)
        return states[0]


@pytest.fixture
def workers(setup_task: Callable, iterator: Callable) -> Callable[..., Workers]:
    def start(count: int, update_freq: int = 1, state: dict | None = None, **sizes: int) -> Workers:
        def make_task(update_freq: int) -> FairseqTask:
            return setup_task(optimization={"update_freq": [update_freq]}, sample_break_mode="eos")

        return Workers(make_task, iterator, count, update_freq, state, **sizes)

    return start


@pytest.mark.parametrize(("count", "update_freq"), [(2, 3), (3, 2), (6, 1)])
def test_workers_share_the_updates_of_one(workers: Callable, count: int, update_freq: int) -> None:
    """Uneven ends included: 23 batches, so that some workers have none at the end."""
    alone = workers(1, 6)
    expected = [list(alone.updates()), list(alone.updates())]
    together = workers(count, update_freq)
    assert [list(together.updates()), list(together.updates())] == expected
    assert len(alone.epochs[0]) == 23 and expected[0] != expected[1]


@pytest.mark.parametrize("stop", [1, 2, 5])
@pytest.mark.parametrize("before_and_after", [((2, 1), (1, 2)), ((1, 2), (2, 1)), ((3, 2), (2, 3)), ((1, 6), (3, 2))])
def test_other_workers_go_on_with_the_same_updates(workers: Callable, before_and_after: tuple, stop: int) -> None:
    before, after = before_and_after
    if stop * before[0] * before[1] >= 23:
        stop = 3
    uninterrupted = workers(*before)
    first_epoch, expected = list(uninterrupted.updates()), list(uninterrupted.updates())

    stopped = workers(*before)
    list(stopped.updates())
    updates = stopped.updates()
    seen = [next(updates) for _ in range(stop)]
    resumed = workers(*after, state=stopped.state())
    assert seen + list(resumed.updates()) == expected != first_epoch
    assert (resumed.first_update, resumed.total_updates) == (stop, len(expected))
    assert resumed.state()["epoch"] == 3


@pytest.mark.parametrize(
    ("after", "sizes"),
    [
        ((1, 1), {"max_sentences": 7}),
        ((2, 3), {"max_sentences": 3}),
        ((1, 4), {}),
        ((3, 3), {}),
        ((2, 1), {"max_sentences": None, "max_tokens": 40}),
        ((2, 2), {"grouped_shuffling": True, "max_sentences": 5}),
    ],
)
def test_each_sample_comes_once_with_the_masks_of_the_epoch(workers: Callable, after: tuple, sizes: dict) -> None:
    expected = sorted(row for update in workers(1).updates() for row in update)

    stopped = workers(2, 3)
    updates = stopped.updates()
    rows = [row for _ in range(2) for row in next(updates)]
    resumed = workers(*after, state=stopped.state(), **sizes)
    others = resumed.updates()
    rows += next(others)
    again = workers(1, state=resumed.state())  # and as at first
    rest = list(again.updates())
    assert sorted(rows + [row for update in rest for row in update]) == expected
    assert {len(update) for update in rest[1:]} <= {1, 2, 3, 4} and again.state()["epoch"] == 2
    epoch_later = [row for update in again.updates() for row in update]
    assert len(epoch_later) == len(expected)


def test_another_stop_after_a_change_of_size_changes_nothing(workers: Callable) -> None:
    first = workers(2, 3)
    next(first.updates())
    changed = workers(1, 2, state=first.state(), max_sentences=5)
    expected = list(changed.updates())

    state, found = first.state(), []
    for stop in (1, 2, 3):
        stopped = workers(1, 2, state=state, max_sentences=5)
        found += islice(stopped.updates(), stop)
        state = stopped.state()
    last = workers(2, 1, state=state, max_sentences=5)
    assert found + list(last.updates()) == expected
    assert (last.first_update, last.total_updates) == (changed.first_update + 6, changed.total_updates)


@pytest.mark.parametrize("seed", range(20))
def test_any_number_of_stops_and_changes(workers: Callable, seed: int) -> None:
    generator = random.Random(seed)
    limits: list[dict[str, Any]] = [
        {"max_sentences": generator.randint(1, 9)},
        {"max_sentences": None, "max_tokens": generator.randint(13, 60)},
        {"max_sentences": generator.randint(1, 9), "grouped_shuffling": True},
    ]
    rows, state = [], None
    for _ in range(generator.randint(2, 6)):
        run = workers(generator.randint(1, 3), generator.randint(1, 3), state=state, **generator.choice(limits))
        rows += [row for update in islice(run.updates(), generator.randint(1, 3)) for row in update]
        state = run.state()
        if state["epoch"] == 2:
            break
    else:
        rows += [row for update in workers(1, state=state).updates() for row in update]
    assert sorted(rows) == sorted(row for update in workers(1).updates() for row in update)


def test_a_position_in_other_data_is_refused(workers: Callable) -> None:
    stopped = workers(1)
    next(stopped.updates())
    state = stopped.state() | {"samples": 91}
    with pytest.raises(UserError, match=r"in the middle of an epoch of 91 samples, .* are 90; .*--reset-dataloader"):
        workers(1, state=state)


def test_fairseqs_own_position_is_taken_over(workers: Callable) -> None:
    """Of a checkpoint that was written before positions were elastic."""
    stopped = workers(2, 2)
    updates = stopped.updates()
    seen = [next(updates), next(updates)]
    state = {key: value for key, value in stopped.state().items() if "samples" not in key}
    assert state == {"version": 2, "epoch": 1, "iterations_in_epoch": 4, "shuffle": True}
    resumed = workers(2, 2, state=state)
    others = resumed.updates()
    assert next(others) not in seen and next(others) == list(updates)[1]
    assert list(workers(4, 1, state=resumed.state()).updates()) == list(others)
