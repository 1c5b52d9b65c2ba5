"""Running fairseq's own commands, and reading what they leave behind."""

import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

logging.getLogger("tensorboard").setLevel(logging.WARNING)  # reading event files, it tells a lot
FOLDER = Path(sys.executable).parent
# One thread: sums in another order would not give the same last digit.
SETTINGS = {"env": os.environ | {"OMP_NUM_THREADS": "1"}, "cwd": Path(__file__).parents[2]}

TIMES = {"wps", "ups", "wall", "train_wall"}
"""Scalars of the log that tell how fast a run was; of the rest, equal runs have equal values."""


@dataclass(frozen=True)
class Run:
    """A command that has ended, and the folder of its checkpoints and TensorBoard files."""

    exit_status: int
    stdout: str
    stderr: str
    save_dir: Path

    def logged(self, tag: str) -> list[dict[str, Any]]:
        """The log's records of ``train_inner``, ``train`` or ``valid``, in order."""
        mark = f"| {tag} | {{"
        return [json.loads("{" + line.split(mark, 1)[1]) for line in self.stdout.splitlines() if mark in line]

    def scalars(self, tag: str) -> dict[str, dict[int, float]]:
        """TensorBoard's values by name and update; of an update that was done twice, the last."""
        events = EventAccumulator(str(self.save_dir / tag), {"scalars": 0}, purge_orphaned_data=False).Reload()
        return {name: {event.step: event.value for event in events.Scalars(name)} for name in events.Tags()["scalars"]}

    def checkpoint(self, name: str = "checkpoint_last.pt") -> dict[str, Any]:
        return torch.load(self.save_dir / name)

    def weights(self) -> dict[str, Tensor]:
        return self.checkpoint()["model"]

    def assert_succeeded(self) -> "Run":
        assert self.exit_status == 0, self.stdout[-3000:] + self.stderr[-3000:]
        return self

    def assert_one_error_line(self, *expected: str) -> None:
        """It failed and told why in one last line on stderr, ``error: ...``, without a traceback."""
        assert self.exit_status > 0
        assert "Traceback" not in self.stdout + self.stderr
        errors = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        assert errors == self.stderr.splitlines()[-1:]
        assert [text for text in expected if text not in errors[0]] == []


def run_command(command: str, *arguments: str, save_dir: Path) -> Run:
    """Run one of fairseq's commands, from the repository's root, until it ends."""
    ended = subprocess.run([FOLDER / command, *arguments], capture_output=True, text=True, **SETTINGS)
    return Run(ended.returncode, ended.stdout, ended.stderr, save_dir)


def start_command(command: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start one of fairseq's commands. The small pipe keeps it from running far ahead of who reads its output."""
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "bufsize": 0, "pipesize": 4096}
    return subprocess.Popen([FOLDER / command, *arguments], **pipe, **SETTINGS)


class ForkingServer:
    """Runs fairseq's commands as ``run_command`` does, but in forks of one process that has imported fairseq."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("forking_server.py")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([sys.executable, script], text=True, **pipes, **SETTINGS)

    def start(self, command: str, *arguments: str, save_dir: Path) -> int:
        """Start a command whose output goes to files in ``save_dir``. Returns its process id."""
        save_dir.mkdir(exist_ok=True)
        output = {name: str(save_dir / name) for name in ("stdout", "stderr")}
        print(json.dumps({"arguments": [command, *arguments], **output}), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def wait(self, save_dir: Path) -> Run:
        """Wait for the end of what was started last."""
        exit_status = int(self._process.stdout.readline())
        return Run(exit_status, (save_dir / "stdout").read_text(), (save_dir / "stderr").read_text(), save_dir)

    def run(self, command: str, *arguments: str, save_dir: Path) -> Run:
        self.start(command, *arguments, save_dir=save_dir)
        return self.wait(save_dir)

    def close(self) -> None:
        with self._process:
            self._process.stdin.close()
