"""SIGTERM as a request: noted, shared by all workers, and answered where a run can be stopped."""

import contextlib
import functools
import signal
import sys
import threading
from types import FrameType
from typing import Any, NoReturn

import torch
import torch.distributed as dist

EXIT_STOPPED = 128 + signal.SIGTERM
"""How a shell reports a process that SIGTERM has ended, which schedulers tell from a failure."""


class StopRequested(BaseException):
    """A scheduler wants the process to end, and nothing is half-done at this moment.

    It is no ``Exception``, of which fairseq would leave a ``crash.pt`` behind where one ends a step of training.
    """


class _Request:
    is_awaited = False
    is_noted = False
    previous_handler: Any = signal.SIG_DFL

    def note(self, number: int, frame: FrameType | None) -> None:
        self.is_noted = True


_request = _Request()


def await_stop_requests() -> None:
    """From now on SIGTERM ends nothing: it waits for :func:`stop_if_requested`. Once a run, which may call it again."""
    if threading.current_thread() is not threading.main_thread() or _request.is_awaited:
        return  # Python gives signals to the main thread alone
    _request.is_awaited, _request.is_noted = True, False
    _request.previous_handler = signal.signal(signal.SIGTERM, _request.note)


def await_no_more_stop_requests() -> None:
    """SIGTERM does again what it did before: the run is over, and what came too late has nothing to stop."""
    if _request.is_awaited:
        _request.is_awaited = False
        signal.signal(signal.SIGTERM, _request.previous_handler)


def stop_if_requested() -> None:
    """Raise if SIGTERM came to any worker; each must call this as often as the others.

    Raises:
        StopRequested: in all workers
    """
    if not _request.is_awaited:
        return
    is_noted = _request.is_noted
    if dist.is_initialized():
        flag = torch.tensor(int(is_noted))
        dist.all_reduce(flag, dist.ReduceOp.MAX, group=_group_on_cpus(dist.group.WORLD))
        is_noted = bool(flag)
    if is_noted:
        raise StopRequested


def is_stop_noted() -> bool:
    """Whether SIGTERM came to this worker."""
    return _request.is_noted


def exit_as_stopped() -> NoReturn:
    """End the process with ``EXIT_STOPPED``, which another SIGTERM does not change any more.

    Python gives signals back to the system before it has ended, and the process would be one that SIGTERM has killed.

    Raises:
        SystemExit: always
    """
    if _request.is_awaited:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(EXIT_STOPPED)


def wait_for_all_workers() -> None:
    """Return when every worker has come here or ended: one that ended earlier would make a launcher kill the others."""
    if dist.is_initialized():
        with contextlib.suppress(RuntimeError):  # another has ended already
            dist.barrier(_group_on_cpus(dist.group.WORLD))


@functools.cache
def _group_on_cpus(world: dist.ProcessGroup) -> dist.ProcessGroup:
    """All workers; asking them this way does not wait for what their GPUs have still to do."""
    return dist.new_group(backend="gloo")
