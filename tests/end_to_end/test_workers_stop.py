"""Two workers that train together: what happens to one of them happens to both."""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from .commands import ForkedCommands, Run
from .conftest import STUDENT, Options
from .test_resume import assert_ended_alike, wait_for_newer_file

EXIT_STOPPED = 128 + signal.SIGTERM


@pytest.fixture(scope="module")
def worker_options(distillation_options: Options) -> Options:
    return partial(distillation_options, **STUDENT | {"update_freq": 1})


@pytest.fixture(scope="module")
def two_workers(commands: ForkedCommands, worker_options: Options, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Their undisturbed run."""
    save_dir = tmp_path_factory.mktemp("two_workers")
    return commands.run_workers(partial(worker_options, save_dir), 2, save_dir)


@pytest.fixture
def start_and_signal(
    commands: ForkedCommands, worker_options: Options, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., list[Run]]:
    """Starts both in ``tmp_path``, sends a signal to one of them once a checkpoint is there; both when they ended."""

    def start(rank: int, number: signal.Signals) -> list[Run]:
        workers = commands.start_workers(partial(worker_options, tmp_path), 2, tmp_path_factory.mktemp("meeting"))
        wait_for_newer_file(tmp_path, "checkpoint_last.pt", since=0)
        os.kill(workers[rank].id, number)
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
