"""Limits of the operating system, by which a disk is full or memory runs out."""

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path


@contextmanager
def lowered(kind: int, limit: int) -> Iterator[Callable[[], None]]:
    """Lower a limit, until the end or until what this gives is called."""
    before = resource.getrlimit(kind)
    lift = partial(resource.setrlimit, kind, before)
    resource.setrlimit(kind, (limit, before[1]))
    try:
        yield lift
    finally:
        lift()


def no_file_larger_than(size: int) -> AbstractContextManager[Callable[[], None]]:
    """What would make a file larger than so many bytes fails."""
    return lowered(resource.RLIMIT_FSIZE, size)


def no_more_memory_than(room: int) -> AbstractContextManager[Callable[[], None]]:
    """What asks for more than so many further bytes gets none."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return lowered(resource.RLIMIT_AS, used + room)
