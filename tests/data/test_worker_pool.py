import os
import signal

import pytest

from fairseq_distil.data.worker_pool import ITEMS_AHEAD_PER_WORKER, ordered_map
from fairseq_distil.errors import UserError


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order(workers: int) -> None:
    offset = 7
    with ordered_map(lambda item: item * item + offset, workers) as mapped:
        assert list(mapped(range(100))) == [item * item + offset for item in range(100)]
        assert list(mapped([])) == []


def test_no_more_items_are_read_than_the_workers_need() -> None:
    read = 0

    def items():
        nonlocal read
        for item in range(1000):
            read += 1
            yield item

    with ordered_map(lambda item: item, 2) as mapped:
        results = mapped(items())
        for done in range(1, 20):
            next(results)
            assert read < done + 2 * ITEMS_AHEAD_PER_WORKER


def test_a_workers_error_arrives() -> None:
    with ordered_map(lambda item: 1 // item, 2) as mapped, pytest.raises(ZeroDivisionError):
        list(mapped([3, 2, 1, 0]))


def test_a_killed_worker_is_named_instead_of_waited_for() -> None:
    with (
        ordered_map(lambda item: os.kill(os.getpid(), signal.SIGKILL), 2) as mapped,
        pytest.raises(UserError, match="a worker process was killed"),
    ):
        list(mapped([1, 2]))


def test_workers_end_with_the_pool() -> None:
    with ordered_map(lambda item: os.getpid(), 2) as mapped:
        workers = set(mapped(range(20)))
    assert os.getpid() not in workers
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
