"""scripts/train.py under torchrun, on CPUs: what workers learn, who logs, and how a run goes on without some."""

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from .commands import FOLDER, SETTINGS, ForkedCommands, Run
from .conftest import Options
from .test_effective_batch import EXACT, assert_same_training
from .test_resume import wait_for_newer_file

pytestmark = pytest.mark.slow
UPDATES = 150
"""So many that a run can be caught in the middle."""


Torchrun = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def torchrun() -> Iterator[Torchrun]:
    """Starts torchrun, whose processes write to files of their own."""
    started = []

    def start(*arguments: object, save_dir: Path) -> subprocess.Popen[str]:
        logs = ["--log-dir", save_dir / "logs", "--redirects", "3"]
        command = [FOLDER / "torchrun", *logs, *arguments]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started.append(subprocess.Popen([str(part) for part in command], **streams, **SETTINGS))
        return started[-1]

    yield start
    for agent in started:
        with agent:
            agent.terminate()


def kill_machine(agent: subprocess.Popen[str]) -> None:
    """Kill torchrun and, at once, what it has started."""
    workers = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    assert len(workers) == 1
    for process in (agent.pid, *map(int, workers)):
        os.kill(process, signal.SIGKILL)
    agent.communicate()


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("localhost", 0))
        return unused.getsockname()[1]


def output_of(rank: int, save_dir: Path, stream: str = "stdout") -> str:
    (path,) = save_dir.glob(f"logs/*/attempt_0/{rank}/{stream}.log")
    return path.read_text()


@pytest.fixture(scope="module")
def exact(commands: ForkedCommands, distillation_options: Options, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One process, with updates of two batches of 4."""
    save_dir = tmp_path_factory.mktemp("exact")
    arguments = distillation_options(save_dir, **EXACT)
    return commands.run("fairseq-train", *arguments, save_dir=save_dir).assert_succeeded()


def test_two_workers_train_as_one_and_the_first_logs(
    torchrun: Torchrun, exact: Run, distillation_options: Options, tmp_path: Path
) -> None:
    arguments = distillation_options(tmp_path, **EXACT, update_freq=None, sequences_per_update=8)
    ended = torchrun("--standalone", "--nproc-per-node", 2, "scripts/train.py", *arguments, save_dir=tmp_path)
    output = ended.communicate()[0]
    assert ended.returncode == 0, output + output_of(0, tmp_path, "stderr")
    run = Run(0, output_of(0, tmp_path), output, tmp_path)
    assert_same_training(run, exact)
    assert len(run.logged("train_inner")) == 12
    assert output_of(1, tmp_path) == ""


def test_a_recipe(torchrun: Torchrun, recipe: list[str], tmp_path: Path) -> None:
    settings = ["--sequences-per-update", 8, *recipe, "dataset.batch_size=4", f"checkpoint.save_dir={tmp_path}"]
    settings += ["optimization.max_update=3"]
    ended = torchrun("--standalone", "--nproc-per-node", 2, "scripts/train.py", *settings, save_dir=tmp_path)
    output = ended.communicate()[0]
    assert ended.returncode == 0, output + output_of(0, tmp_path, "stderr")
    assert Run(0, output_of(0, tmp_path), output, tmp_path).scalars("train_inner")["bsz"] == {1: 8, 2: 8, 3: 8}
    assert "num_updates: 3 >= max_update: 3" in output_of(0, tmp_path)
    assert output_of(1, tmp_path) == ""


def test_a_run_that_loses_a_machine_goes_on_with_the_other(
    torchrun: Torchrun, commands: ForkedCommands, distillation_options: Options, tmp_path: Path
) -> None:
    """Two agents, as on two machines, one of which is killed; updates stay those of one process."""
    settings = EXACT | {"curriculum": 0, "max_update": UPDATES, "disable_validation": True}
    alone = tmp_path / "alone"
    expected = commands.run("fairseq-train", *distillation_options(alone, **settings), save_dir=alone)
    expected.assert_succeeded()

    together = tmp_path / "together"
    arguments = distillation_options(
        together, **settings, update_freq=None, sequences_per_update=8, save_interval_updates=3, keep_interval_updates=1
    )
    elastic = ["--nnodes", "1:2", "--nproc-per-node", 1, "--max-restarts", 5]
    elastic += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{free_port()}", "--rdzv-id", "elastic"]
    times = "last_call_timeout=2,keep_alive_interval=1,read_timeout=10"
    first, second = (  # the first holds what the agents share: without it none could go on
        torchrun(
            *(*elastic, "--rdzv-conf", f"{times},is_host={name == 'first'}"),
            *("scripts/train.py", *arguments),
            save_dir=tmp_path / name,
        )
        for name in ("first", "second")
    )
    wait_for_newer_file(together, "checkpoint_last.pt", since=0)
    kill_machine(second)
    output = first.communicate()[0]
    assert first.returncode == 0, output
    run = Run(0, "", output, together)
    assert run.checkpoint()["optimizer_history"][-1]["num_updates"] == UPDATES
    torch.testing.assert_close(run.weights(), expected.weights(), rtol=1e-4, atol=1e-5)
