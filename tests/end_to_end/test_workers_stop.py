"""Two workers that train together: what happens to one of them happens to both."""

import contextlib
import io
import os
import re
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from ..forked_processes import ForkedProcess
from .commands import ForkedCommands, Run
from .conftest import STUDENT, UPDATES_AN_EPOCH, Options
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

_, folder, update, *options = sys.argv
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
KILLED_IN_VALIDATION = """
import os, signal, sys
import torch
from fairseq.trainer import Trainer
from fairseq_cli import train

_, update, *options = sys.argv
sys.argv = ["fairseq-train", *options]
valid_step_as_ever = Trainer.valid_step

def valid_step(self, *sample, **settings):
    if self.get_num_updates() == int(update) and torch.distributed.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return valid_step_as_ever(self, *sample, **settings)

Trainer.valid_step = valid_step
train.cli_main()
"""
OUT_OF_MEMORY = """
import sys
import torch
from fairseq_cli import train
from fairseq_distil.criterions import DistillationCriterion

_, failures, *options = sys.argv
sys.argv = ["fairseq-train", *options]
left = iter(range(int(failures)))
forward_as_ever = DistillationCriterion.forward

def forward(self, model, sample, *rest):
    if not self.training and torch.distributed.get_rank() == 1 and next(left, None) is not None:
        raise torch.OutOfMemoryError("out of memory")
    return forward_as_ever(self, model, sample, *rest)

DistillationCriterion.forward = forward
train.cli_main()
"""


@pytest.fixture(scope="module")
def worker_options(distillation_options: Options) -> Options:
    return partial(distillation_options, **STUDENT | {"update_freq": 1})


@pytest.fixture(scope="module")
def two_workers(commands: ForkedCommands, worker_options: Options, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Their undisturbed run."""
    save_dir = tmp_path_factory.mktemp("two_workers")
    return commands.run_workers(partial(worker_options, save_dir), 2, save_dir)


@pytest.fixture
def start_both(
    commands: ForkedCommands, worker_options: Options, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[list[ForkedProcess], Path]]:
    """Starts both in ``tmp_path``. After an update they wait for a file, however fast they and the tests are."""

    def start(update: int = 6) -> tuple[list[ForkedProcess], Path]:
        folder = tmp_path_factory.mktemp("meeting")
        script = folder / "waiting.py"
        script.write_text(WAITING)
        options = partial(worker_options, tmp_path)
        workers = commands.start_workers(options, 2, folder, program=(str(script), str(folder), str(update)))
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
        ended = [worker.wait() for worker in workers]
        return [Run(e.returncode, e.stdout, e.stderr, tmp_path) for e in ended]

    return start


@pytest.fixture
def start_again(commands: ForkedCommands, worker_options: Options, tmp_path: Path) -> Callable[[], Run]:
    """Runs both to the end in ``tmp_path``."""
    return lambda: commands.run_workers(partial(worker_options, tmp_path), 2, tmp_path)


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


@pytest.mark.slow
def test_kill_of_one_of_them_in_the_validation_that_ends_an_epoch(
    commands: ForkedCommands,
    worker_options: Options,
    start_again: Callable[[], Run],
    two_workers: Run,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The means of the epoch, which are told after the validation, are not lost."""
    script = tmp_path_factory.mktemp("script") / "killed_in_validation.py"
    script.write_text(KILLED_IN_VALIDATION)
    meeting, options = tmp_path_factory.mktemp("meeting"), partial(worker_options, tmp_path)
    workers = commands.start_workers(options, 2, meeting, program=(str(script), str(UPDATES_AN_EPOCH)))
    first, second = wait_for_all(workers, tmp_path)
    assert second.exit_status == -signal.SIGKILL
    first.assert_one_error_line("another worker of this run has ended")
    assert first.checkpoint()["optimizer_history"][-1]["num_updates"] == UPDATES_AN_EPOCH
    assert first.logged("train") == []
    assert_ended_alike(start_again(), two_workers, from_update=1)


def children(process: int) -> list[int]:
    """Its data workers, whichever of its threads has started them."""
    lists = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for children_of_thread in lists for child in children_of_thread.read_text().split()]


def wait_for_all(workers: list[ForkedProcess], save_dir: Path) -> list[Run]:
    """Their ends; torch names the worker before each line of a last error."""
    ended = [worker.wait() for worker in workers]
    return [Run(e.returncode, e.stdout, re.sub(r"(?m)^\[rank\d\]: ?", "", e.stderr), save_dir) for e in ended]


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


def damaged(checkpoint: bytes) -> bytes:
    return checkpoint[:-100]


def foreign(_: bytes) -> bytes:
    """A file that torch reads, but fairseq does not."""
    torch.save({"weights": torch.zeros(3)}, file := io.BytesIO())
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "changed", "expected"),
    [
        (damaged, {}, "checkpoint_last.pt: damaged, and no other checkpoint in this folder is whole"),
        (foreign, {}, "checkpoint_last.pt: not a fairseq checkpoint: it has no model"),
        pytest.param(bytes, {"encoder_layers": 3}, "not those of the encoder that the", marks=pytest.mark.slow),
    ],
)
def test_a_checkpoint_that_is_refused(
    content: Callable[[bytes], bytes],
    changed: dict[str, int],
    expected: str,
    commands: ForkedCommands,
    worker_options: Options,
    two_workers: Run,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Each of them tells it, and none of them waits for the other one."""
    whole = (two_workers.save_dir / "checkpoint_last.pt").read_bytes()
    (tmp_path / "checkpoint_last.pt").write_bytes(content(whole))
    options = partial(worker_options, tmp_path, **changed)
    for run in wait_for_all(commands.start_workers(options, 2, tmp_path_factory.mktemp("meeting")), tmp_path):
        run.assert_one_error_line(expected)
        assert run.exit_status == 1


@pytest.mark.parametrize("failures", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_memory_of_one_of_them_runs_out_in_validation(
    failures: int,
    commands: ForkedCommands,
    worker_options: Options,
    start_again: Callable[[], Run],
    two_workers: Run,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """fairseq tries the batch once more; where that fails as well, none of them waits for ever."""
    script = tmp_path_factory.mktemp("script") / "out_of_memory.py"
    script.write_text(OUT_OF_MEMORY)
    meeting, options = tmp_path_factory.mktemp("meeting"), partial(worker_options, tmp_path)
    workers = commands.start_workers(options, 2, meeting, program=(str(script), str(failures)))
    first, second = wait_for_all(workers, tmp_path)
    if failures == 2:
        second.assert_one_error_line("memory ran out twice for a batch of validation", "--batch-size-valid")
        first.assert_one_error_line("another worker of this run has ended")
        assert first.checkpoint()["optimizer_history"][-1]["num_updates"] == STUDENT["save_interval_updates"]
        first = start_again()
    assert_ended_alike(first.assert_succeeded(), two_workers, from_update=1)
