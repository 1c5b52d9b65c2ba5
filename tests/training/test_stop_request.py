"""SIGTERM waits for a moment at which nothing is half-done."""

import signal
import threading
from collections.abc import Iterator

import pytest

from fairseq_distil.training.stop_request import StopRequested, is_stop_noted, stop_if_requested, stop_requests


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """Signals that came to the handler of before."""
    numbers: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, frame: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, previous)


def test_a_request_is_answered_where_it_is_asked_for(handled: list[int]) -> None:
    with pytest.raises(StopRequested), stop_requests():
        stop_if_requested()
        assert not is_stop_noted()
        signal.raise_signal(signal.SIGTERM)
        assert is_stop_noted()
        stop_if_requested()
    assert handled == []


def test_a_request_that_is_not_answered_comes_afterwards(handled: list[int]) -> None:
    with stop_requests():
        signal.raise_signal(signal.SIGTERM)
        assert handled == []
    assert handled == [signal.SIGTERM]


def test_outside_the_signal_is_what_it_was(handled: list[int]) -> None:
    with stop_requests():
        pass
    signal.raise_signal(signal.SIGTERM)
    assert handled == [signal.SIGTERM]
    stop_if_requested()


def test_a_thread_trains_without_it(handled: list[int]) -> None:
    """Python gives signals to the main thread alone."""

    def train() -> None:
        with stop_requests():
            signal.raise_signal(signal.SIGTERM)
            stop_if_requested()
        ended.append(True)

    ended: list[bool] = []
    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert ended == [True] and handled == [signal.SIGTERM]
