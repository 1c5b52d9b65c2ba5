"""Two workers that train together: what happens to one of them happens to both."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ..forked_processes import ForkedProcess
from .commands import Run, wait_for_all
from .conftest import StartScript
from .test_resume import assert_ended_alike, wait_for_newer_file

pytestmark = pytest.mark.timeout(1200)  # up to 14 processes, one pair after the other, on a machine that does much else
EXIT_STOPPED = 128 + signal.SIGTERM
WAITING = """
import sys
import time
from pathlib import Path
import torch
from fairseq.trainer import Trainer
from fairseq_cli import train

script, update, *options = sys.argv
folder = Path(script).parent
sys.argv = ["fairseq-train", *options]
train_step_as_ever = Trainer.train_step

def train_step(self, *samples, **settings):
    log = train_step_as_ever(self, *samples, **settings)
    if self.get_num_updates() == int(update):
        Path(folder, f"waits{torch.distributed.get_rank()}").touch()
        while not Path(folder, "go_on").exists():
            time.sleep(0.005)
    return log

Trainer.train_step = train_step
train.cli_main()
"""


@pytest.fixture
def start_both(start_script: StartScript) -> Callable[..., tuple[list[ForkedProcess], Path]]:
    """Starts both. After an update they wait for a file, however fast they and the tests are."""

    def start(update: int = 6) -> tuple[list[ForkedProcess], Path]:
        workers, folder = start_script(WAITING, update)
        for rank in range(2):
            wait_for_newer_file(folder, f"waits{rank}", since=0)
        return workers, folder / "go_on"

    return start


@pytest.fixture
def start_and_signal(
    start_both: Callable[..., tuple[list[ForkedProcess], Path]], tmp_path: Path
) -> Callable[..., list[Run]]:
    """Sends a signal to one of them once a checkpoint is there; both when they ended."""

    def start(rank: int, number: signal.Signals) -> list[Run]:
        workers, go_on = start_both()
        os.kill(workers[rank].id, number)
        go_on.touch()
        return wait_for_all(workers, tmp_path)

    return start


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_sigterm_to_one_of_them(
    rank: int, start_and_signal: Callable[..., list[Run]], start_again: Callable[[], Run], two_workers: Run
) -> None:
    first, second = start_and_signal(rank, signal.SIGTERM)
    assert (first.exit_status, second.exit_status) == (EXIT_STOPPED, EXIT_STOPPED), first.stderr + second.stderr
    last_update = int(first.logged("train_inner")[-1]["num_updates"])
    assert first.checkpoint()["optimizer_history"][-1]["num_updates"] == last_update
    resumed = start_again()
    assert int(resumed.logged("train_inner")[0]["num_updates"]) == last_update + 1
    assert_ended_alike(resumed, two_workers, from_update=1)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_kill_of_one_of_them(
    rank: int, start_and_signal: Callable[..., list[Run]], start_again: Callable[[], Run], two_workers: Run
) -> None:
    """The other one does not wait for it for ever."""
    ended = start_and_signal(rank, signal.SIGKILL)
    assert ended[rank].exit_status == -signal.SIGKILL and ended[1 - rank].exit_status > 0
    resumed = start_again()
    assert_ended_alike(resumed, two_workers, from_update=1)


def children(process: int) -> list[int]:
    """Its data workers, whichever of its threads has started them."""
    lists = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for children_of_thread in lists for child in children_of_thread.read_text().split()]


def send(number: signal.Signals, processes: list[int]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):  # it may have ended
            os.kill(process, number)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_kill_of_the_data_workers_of_one_of_them(
    rank: int,
    start_both: Callable[..., tuple[list[ForkedProcess], Path]],
    start_again: Callable[[], Run],
    two_workers: Run,
    tmp_path: Path,
) -> None:
    """The first one saves what was made, also where the other one lost its data worker.

    They lose it after an update at which it has not fetched the epoch's last batches ahead.
    """
    workers, go_on = start_both()
    send(signal.SIGKILL, children(workers[rank].id))
    go_on.touch()
    runs = wait_for_all(workers, tmp_path)
    runs[rank].assert_one_error_line("a data worker was killed", "--num-workers")
    runs[1 - rank].assert_one_error_line("another worker of this run has ended")
    last_update = int(runs[0].logged("train_inner")[-1]["num_updates"])
    assert runs[0].checkpoint()["optimizer_history"][-1]["num_updates"] == last_update
    resumed = start_again()
    assert int(resumed.logged("train_inner")[0]["num_updates"]) == last_update + 1
    assert_ended_alike(resumed, two_workers, from_update=1)


@pytest.mark.slow
def test_sigterm_to_all_processes_again_and_again(
    start_both: Callable[..., tuple[list[ForkedProcess], Path]],
    start_again: Callable[[], Run],
    two_workers: Run,
    tmp_path: Path,
) -> None:
    """As a scheduler sends it to the processes of each machine, data workers included, and once more."""
    for update in (6, 12, 18, 24, 30, 36):
        workers, go_on = start_both(update)
        processes = [process for worker in workers for process in (worker.id, *children(worker.id))]
        send(signal.SIGTERM, processes)
        go_on.touch()
        time.sleep(0.1)
        send(signal.SIGTERM, processes)
        stopped, other = wait_for_all(workers, tmp_path)
        assert (stopped.exit_status, other.exit_status) == (EXIT_STOPPED, EXIT_STOPPED), stopped.stderr + other.stderr
        last_update = int(stopped.logged("train_inner")[-1]["num_updates"])
        assert stopped.checkpoint()["optimizer_history"][-1]["num_updates"] == last_update == update
    assert_ended_alike(start_again(), two_workers, from_update=1)
