"""Killed at any moment and started again by the same command, a run ends as one that was never disturbed."""

import random
import shutil
import signal
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch

from fairseq_distil.checkpoints.checkpoint_fault import fault_of

from .commands import ForkedCommands, Run
from .conftest import STUDENT, Options
from .test_resume import assert_ended_alike

Moment = tuple[str, int]

CALLS = 300_000  # of functions, in about 8 updates and their validation and checkpoints
BYTES = 800_000  # of checkpoints, in about as many


def random_moments(seed: int) -> Iterator[Moment]:
    """In turn after so many calls of functions and after so many bytes of checkpoints."""
    generator = random.Random(seed)
    while True:
        yield "call", generator.randint(1, CALLS)
        yield "byte", generator.randint(1, BYTES)


def updates_of(save_dir: Path) -> int:
    """Most updates made, of checkpoints that must all be whole; 0 if there is none."""
    updates = [0]
    for checkpoint in save_dir.glob("checkpoint*.pt"):
        assert fault_of(checkpoint) is None, checkpoint
        updates.append(torch.load(checkpoint)["optimizer_history"][-1]["num_updates"])
    return max(updates)


def kill_again_and_again(
    commands: ForkedCommands, arguments: list[str], moments: Iterator[Moment], undisturbed: Run, save_dir: Path
) -> int:
    """Kill runs at these moments, until there are no more and a last one has come to its end; returns the kills."""
    kills = updates = 0
    while True:
        kind, count = next(moments, ("call", 0))  # a moment that never comes
        run = commands.train_signalled("SIGKILL", kind, count, *arguments, save_dir=save_dir)
        for first in run.logged("train_inner")[:1]:
            assert int(first["num_updates"]) == updates + 1, "what the newest checkpoint holds was done again"
        if run.exit_status == 0:
            assert_ended_alike(run, undisturbed, from_update=1)
            if count == 0:
                return kills
            shutil.rmtree(save_dir)
            updates = 0
        else:
            assert run.exit_status == -signal.SIGKILL, run.stderr
            kills += 1
            reached = updates_of(save_dir)
            assert reached >= updates, "the newest checkpoint was lost"
            updates = reached


@pytest.mark.parametrize(
    ("kills", "seed"), [(3, 1), pytest.param(60, 2, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_killed_at_random_moments(
    kills: int, seed: int, commands: ForkedCommands, student: Run, distillation_options: Options, tmp_path: Path
) -> None:
    save_dir = tmp_path / "run"
    arguments = distillation_options(save_dir, **STUDENT)
    moments = islice(random_moments(seed), kills)
    print(f"{kill_again_and_again(commands, arguments, moments, student, save_dir)} kills survived")


KILLED_IN_A_COPY = """
import os, signal, sys
from fairseq.file_io import PathManager
from fairseq_cli import train

copy_as_ever = PathManager.copy

def copy_or_death(source, destination, overwrite=False):
    if source.endswith("checkpoint_1_10.pt") and destination.endswith("checkpoint_last.pt"):
        os.kill(os.getpid(), signal.SIGKILL)
    return copy_as_ever(source, destination, overwrite)

PathManager.copy = staticmethod(copy_or_death)
sys.argv[0] = "fairseq-train"
train.cli_main()
"""


def test_killed_between_a_checkpoint_and_its_copy(
    commands: ForkedCommands, student: Run, distillation_options: Options, tmp_path: Path
) -> None:
    save_dir, script = tmp_path / "run", tmp_path / "killed.py"
    script.write_text(KILLED_IN_A_COPY)
    arguments = distillation_options(save_dir, **STUDENT)
    killed = commands.run(str(script), *arguments, save_dir=save_dir)
    assert killed.exit_status == -signal.SIGKILL
    assert torch.load(save_dir / "checkpoint_last.pt")["optimizer_history"][-1]["num_updates"] == 5
    resumed = commands.run("fairseq-train", *arguments, save_dir=save_dir).assert_succeeded()
    assert_ended_alike(resumed, student, from_update=11)


KILLED_BEFORE_THE_LINE = """
import os, signal, sys
from fairseq.logging import metrics
from fairseq.trainer import Trainer
from fairseq_cli import train

line_to_lose, stopped_after = int(sys.argv.pop(1)), int(sys.argv.pop(1))
valid_step_as_ever = Trainer.valid_step
training_stats = train.get_training_stats
is_epochs, lines = [], []
smoothed_values = metrics.get_smoothed_values

def valid_step(self, *sample, **settings):
    if self.get_num_updates() == stopped_after:
        os.kill(os.getpid(), signal.SIGTERM)
    return valid_step_as_ever(self, *sample, **settings)

def noted_values(name):
    is_epochs.append(name == "train")
    return smoothed_values(name)

def training_stats_or_death(stats):
    lines.append(is_epochs[-1])
    if sum(lines) == line_to_lose:
        os.kill(os.getpid(), signal.SIGKILL)
    return training_stats(stats)

Trainer.valid_step = valid_step
metrics.get_smoothed_values, train.get_training_stats = noted_values, training_stats_or_death
sys.argv[0] = "fairseq-train"
train.cli_main()
"""


@pytest.mark.parametrize(
    ("line", "stopped_after"), [(2, 0), (2, 42), (3, 0)], ids=["epoch", "epoch-whose-validation-was-stopped", "run"]
)
def test_killed_between_the_last_checkpoint_and_the_line_of_means(
    line: int,
    stopped_after: int,
    commands: ForkedCommands,
    student: Run,
    distillation_options: Options,
    tmp_path: Path,
) -> None:
    """Of the second epoch, after 42 updates, and of what the run makes of the third, 2 updates."""
    script, save_dir = tmp_path / "killed_train.py", tmp_path / "run"
    script.write_text(KILLED_BEFORE_THE_LINE)
    arguments = distillation_options(save_dir, **STUDENT)
    killed = commands.run(str(script), str(line), str(stopped_after), *arguments, save_dir=save_dir)
    assert killed.exit_status == -signal.SIGKILL
    assert updates_of(save_dir) == {2: 42, 3: 44}[line]
    assert max(killed.scalars("train")["loss"]) == {2: 21, 3: 42}[line]
    run = commands.run("fairseq-train", *arguments, save_dir=save_dir).assert_succeeded()
    assert_ended_alike(run, student, from_update=1)
