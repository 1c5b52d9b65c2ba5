"""Jobs that run side by side, and are not run again once they are finished."""

import fcntl
import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import BinaryIO

from tqdm import tqdm

from fairseq_distil.errors import UserError

from .jobs import Job
from .kept_checkpoints import make_lost_teachers_again, remove_unneeded_checkpoints

ADDED_BY_HYDRA = ("Set the environment variable", "full_key:", "reference_type=", "object_type=", "See https://hydra")
ADVICE_OF_HYDRA = "To append to your config"


def run_grid(jobs: Sequence[Job], at_a_time: int) -> None:
    """Run the jobs that have no result yet, with a bar and a line for each that ends.

    Whatever stops it, a job that was running goes on from its last checkpoint when it is called again.

    Args:
        jobs: in the order in which they start, a teacher before those that learn from it
        at_a_time: how many run side by side; they share the cores

    Raises:
        UserError: a job failed, which stops the others, or a folder holds another job
    """
    for job in jobs:
        job.prepare()
    lost = make_lost_teachers_again(jobs)
    remove_unneeded_checkpoints(jobs)
    unfinished = [job for job in jobs if job.result() is None]
    bar = tqdm(total=len(jobs), initial=len(jobs) - len(unfinished), desc="fine-tuning", unit=" runs")
    running = _Processes(threads=max(1, len(os.sched_getaffinity(0)) // at_a_time))
    tidy = partial(remove_unneeded_checkpoints, jobs)
    for teacher in lost:
        bar.write(f"{teacher.name}: fine-tuned once more, to be learned from; its score is replaced", file=bar.fp)
    with bar, ThreadPoolExecutor(at_a_time) as executor:
        try:
            futures: dict[Job, Future] = {}
            for job in unfinished:
                futures[job] = executor.submit(_run, job, futures.get(job.teacher), running, bar, tidy)
            for future in wait(futures.values(), return_when=FIRST_EXCEPTION).done:
                future.result()
        finally:
            running.stop()


class _Processes:
    """The processes at work. After ``stop`` there are none, and no new ones."""

    def __init__(self, threads: int) -> None:
        self._environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        self._lock = threading.Lock()
        self._at_work: set[subprocess.Popen] = set()
        self._stopped = False

    def run(self, job: Job) -> int | None:
        """Run a job's command until it ends; its exit status, or None if all has been stopped."""
        with self._lock, open(job.log, "ab") as log:
            if self._stopped:
                return None
            _lock(log, job)
            # The process holds the lock too, so that it lasts as long as it lives, whatever becomes of this one.
            output = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            process = subprocess.Popen(job.command(), env=self._environment, **output)
            self._at_work.add(process)
        status = process.wait()
        with self._lock:
            self._at_work.discard(process)
            return None if self._stopped else status

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._at_work:
                process.terminate()


def _lock(log: BinaryIO, job: Job) -> None:
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"{job.folder}: another process works in it, perhaps of an evaluation that was killed; wait until it has "
            "ended, or end it"
        ) from None


def _run(job: Job, teacher: Future | None, processes: _Processes, bar: tqdm, tidy: Callable[[], None]) -> None:
    if teacher is not None:
        teacher.result()  # which has begun, for jobs start in their order
    start = time.monotonic()
    status = processes.run(job)
    if status is None:
        return
    if status != 0:
        raise UserError(f"{job.name}: failed with exit status {status}: {_last_line(job)}; see {job.log}")
    score = job.finish()[job.task.metric]
    tidy()
    minutes = (time.monotonic() - start) / 60
    bar.write(f"{job.name}: {job.task.metric} {score:.2f} ({minutes:.1f} minutes)", file=bar.fp)
    bar.update()


def _last_line(job: Job) -> str:
    """What the user is told last, without what Hydra adds."""
    lines = [line.strip() for line in job.log.read_text(encoding="utf-8", errors="replace").splitlines()]
    *earlier, last = ["", "no message", *(line for line in lines if line and not line.startswith(ADDED_BY_HYDRA))]
    advice = f"; {earlier[-1].replace('To', 'to', 1)}" if earlier[-1].startswith(ADVICE_OF_HYDRA) else ""
    return last.removeprefix("error: ") + advice
