"""fairseq's threads that fetch batches ahead, ended before the interpreter is."""

import atexit
import queue
import threading
import time
from contextlib import suppress

from fairseq.data.iterators import BackgroundConsumer

MOST_SECONDS = 30
"""To wait for the batch that a thread is at."""


def end_fetching_threads_at_exit() -> None:
    """Have the threads end first, whatever ends the run.

    Python would end them where they are. Within torch this aborts the process ("terminate called without an active
    exception"), which then tells SIGABRT instead of its exit status: seldom, and often on a busy machine.
    """
    atexit.register(end_fetching_threads)


def end_fetching_threads() -> None:
    """Let each thread finish the batch that it is at, and wait for it."""
    threads = [thread for thread in threading.enumerate() if isinstance(thread, BackgroundConsumer)]
    for thread in threads:
        thread._max_len = 0
    deadline = time.monotonic() + MOST_SECONDS
    for thread in threads:
        while thread.is_alive() and time.monotonic() < deadline:
            with suppress(queue.Empty):
                thread._queue.get_nowait()  # it may wait for room
            thread.join(0.01)
