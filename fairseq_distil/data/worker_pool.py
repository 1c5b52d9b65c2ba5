"""A function applied to a stream by several processes: results in order, few items in memory at a time."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Any

from fairseq_distil.errors import UserError

ITEMS_AHEAD_PER_WORKER = 3

_function: Callable[[Any], Any]


@contextmanager
def ordered_map(function: Callable[[Any], Any], workers: int) -> Iterator[Callable[[Iterable], Iterator]]:
    """A ``map`` of one function that runs in ``workers`` forked processes, or in this one where that is 1.

    Unlike ``multiprocessing.Pool.imap`` it reads no further ahead than the workers need. Forked workers
    inherit the function and what it holds, so it need not be pickled.

    Raises:
        UserError: from the map, when a worker was killed
    """
    if workers == 1:
        yield partial(map, function)
        return
    executor = ProcessPoolExecutor(
        workers, multiprocessing.get_context("fork"), initializer=_start_worker, initargs=(function,)
    )
    try:
        yield partial(_map_in_order, executor, ITEMS_AHEAD_PER_WORKER * workers)
    finally:
        executor.shutdown(cancel_futures=True)


def detach_from_terminal() -> None:
    """In a worker: leave Ctrl-C to the parent, and do not handle signals as it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _map_in_order(executor: ProcessPoolExecutor, items_ahead: int, items: Iterable) -> Iterator:
    pending: deque[Future] = deque()
    try:
        for item in items:
            pending.append(executor.submit(_call, item))
            if len(pending) >= items_ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool:
        raise UserError("a worker process was killed; if memory ran out, use fewer workers") from None


def _start_worker(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    detach_from_terminal()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A parent that is killed cannot end its workers, and they would wait for work for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _call(item: Any) -> Any:
    return _function(item)
