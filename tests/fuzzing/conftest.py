"""What every reader of files that someone else wrote is held to."""

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, seed, settings
from hypothesis import strategies as st

from fairseq_distil.errors import MOST_CHARACTERS, UserError

from ..limits import no_more_memory_than

INPUTS = 100
"""Of a seed."""
SECONDS = float(os.environ.get("FUZZ_SECONDS") or 10)
"""For each reader, where the slow tests run."""
SEED = int(os.environ.get("FUZZ_SEED") or random.randrange(10**9))
"""The first of those of a run; the others follow it."""
ROOM = 2**30

Read = Callable[[Any], object]
Fuzz = Callable[..., None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Fuzz the same few inputs in each default suite, and others in each slow one, for a time."""
    if "is_timed" in metafunc.fixturenames:
        marks = [pytest.mark.slow, pytest.mark.timeout(SECONDS + 300)]
        metafunc.parametrize("is_timed", [pytest.param(False, id="few"), pytest.param(True, marks=marks, id="timed")])


@pytest.fixture
def little_memory() -> Iterator[None]:
    """At most another GiB of memory: who believes a lying size gets none."""
    with no_more_memory_than(ROOM):
        yield


@pytest.fixture
def assert_read_or_refused(little_memory: None) -> Callable[[Read, Any], None]:
    """Reads; what is refused is refused in one line of bounded length that can be printed."""

    def check(read: Read, value: Any) -> None:
        try:
            read(value)
        except UserError as error:
            message = str(error)
            assert message.isprintable() and len(message) < 2 * MOST_CHARACTERS

    return check


@pytest.fixture
def fuzz(is_timed: bool, assert_read_or_refused: Callable[[Read, Any], None]) -> Fuzz:
    """Reads inputs of a strategy: the same ones in each run, after those that once failed; or those of one seed after
    another, which is told, until the time is over.
    """
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    chosen = settings(
        max_examples=INPUTS, derandomize=not is_timed, deadline=None, database=None, suppress_health_check=checks
    )

    def run(read: Read, strategy: st.SearchStrategy[Any], once_failed: Sequence[Any] = ()) -> None:
        def check(value: Any) -> None:
            assert_read_or_refused(read, value)

        test = chosen(given(strategy)(check))
        if is_timed:
            for number in seeds():
                print(f"FUZZ_SEED={number}")
                seed(number)(test)()
        else:
            for value in once_failed:
                test = example(value)(test)
            test()

    return run


def seeds() -> Iterator[int]:
    """At least one, and further ones until the time for a reader is over."""
    end = time.monotonic() + SECONDS
    yield SEED
    for number in count(SEED + 1):
        if time.monotonic() >= end:
            return
        yield number
