"""SIGTERM waits for a moment at which nothing is half-done."""

import signal
import threading
from collections.abc import Iterator

import pytest

from fairseq_distil.training.stop_request import (
    StopRequested,
    await_no_more_stop_requests,
    await_stop_requests,
    exit_as_stopped,
    is_stop_noted,
    stop_if_requested,
)


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """Signals that came to the handler of before."""
    numbers: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, frame: numbers.append(number))
    yield numbers
    await_no_more_stop_requests()
    signal.signal(signal.SIGTERM, previous)


def test_a_request_is_answered_where_it_is_asked_for(handled: list[int]) -> None:
    await_stop_requests()
    stop_if_requested()
    assert not is_stop_noted()
    signal.raise_signal(signal.SIGTERM)
    assert is_stop_noted()
    with pytest.raises(StopRequested):
        stop_if_requested()
    assert handled == []


def test_a_request_is_not_forgotten_where_a_run_awaits_them_again(handled: list[int]) -> None:
    await_stop_requests()
    signal.raise_signal(signal.SIGTERM)
    await_stop_requests()
    with pytest.raises(StopRequested):
        stop_if_requested()


def test_afterwards_the_signal_is_what_it_was(handled: list[int]) -> None:
    for _ in range(2):
        await_stop_requests()
        signal.raise_signal(signal.SIGTERM)
        await_no_more_stop_requests()
        await_no_more_stop_requests()
    assert handled == []
    signal.raise_signal(signal.SIGTERM)
    assert handled == [signal.SIGTERM]
    stop_if_requested()
    await_stop_requests()
    assert not is_stop_noted()  # that was of another run


def test_a_thread_trains_without_it(handled: list[int]) -> None:
    """Python gives signals to the main thread alone."""

    def train() -> None:
        await_stop_requests()
        signal.raise_signal(signal.SIGTERM)
        stop_if_requested()
        ended.append(True)

    ended: list[bool] = []
    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert ended == [True] and handled == [signal.SIGTERM]


def test_the_exit_status_is_not_changed_by_another_request(handled: list[int]) -> None:
    await_stop_requests()
    with pytest.raises(SystemExit) as ended:
        exit_as_stopped()
    assert (ended.value.code, signal.getsignal(signal.SIGTERM)) == (143, signal.SIG_IGN)
