"""What every reader of files that someone else wrote is held to."""

import resource
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fairseq_distil.errors import MOST_CHARACTERS, UserError

FAST, SLOW = 100, 1000
ROOM = 2**30
PAGE = resource.getpagesize()

Read = Callable[[Any], object]
Fuzz = Callable[..., None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Fuzz a few inputs in the default suite, and many more in the slow one."""
    if "inputs" in metafunc.fixturenames:
        metafunc.parametrize("inputs", [FAST, pytest.param(SLOW, marks=pytest.mark.slow)])


@pytest.fixture
def little_memory() -> Iterator[None]:
    """At most another GiB of memory: who believes a lying size gets none."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


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
def fuzz(inputs: int, assert_read_or_refused: Callable[[Read, Any], None]) -> Fuzz:
    """Reads inputs of a strategy, the same ones in every run, after those that once failed."""

    def run(read: Read, strategy: st.SearchStrategy[Any], once_failed: Sequence[Any] = ()) -> None:
        def check(value: Any) -> None:
            assert_read_or_refused(read, value)

        test = given(strategy)(check)
        for value in once_failed:
            test = example(value)(test)
        checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
        settings(max_examples=inputs, derandomize=True, deadline=None, database=None, suppress_health_check=checks)(
            test
        )()

    return run
