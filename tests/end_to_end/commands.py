"""Running fairseq's own commands, and reading what they leave behind."""

import json
import logging
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from ..forked_processes import ENVIRONMENT, ROOT, SIGNALLED, ForkedProcess, ForkingServer

logging.getLogger("tensorboard").setLevel(logging.WARNING)  # reading event files, it tells a lot
FOLDER = Path(sys.executable).parent
SETTINGS = {"env": ENVIRONMENT, "cwd": ROOT}

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


class ForkedCommands:
    """Runs fairseq's commands as ``run_command`` does, but by forking."""

    def __init__(self, server: ForkingServer) -> None:
        self._server = server

    def start(self, command: str, *arguments: str) -> ForkedProcess:
        return self._server.start(command, *arguments)

    def run(self, command: str, *arguments: str, save_dir: Path) -> Run:
        ended = self._server.run(command, *arguments)
        return Run(ended.returncode, ended.stdout, ended.stderr, save_dir)

    def run_workers(
        self, options: Callable[..., list[str]], workers: int, save_dir: Path, ddp_backend: str = "legacy_ddp"
    ) -> Run:
        """The first of several processes of fairseq-train that train together, on CPUs.

        Args:
            options: the options of fairseq-train, with those by keyword that make one of the processes
            workers: how many
            save_dir: of all of them
            ddp_backend: how they exchange gradients
        """
        return self.run_each_worker(options, workers, save_dir, ddp_backend)[0]

    def run_each_worker(
        self, options: Callable[..., list[str]], workers: int, save_dir: Path, ddp_backend: str = "legacy_ddp"
    ) -> list[Run]:
        """All of them."""
        with tempfile.TemporaryDirectory(prefix="rendezvous-") as folder:
            started = self.start_workers(options, workers, Path(folder), ddp_backend)
            ended = [process.wait() for process in started]
        return [Run(e.returncode, e.stdout, e.stderr, save_dir).assert_succeeded() for e in ended]

    def start_workers(
        self,
        options: Callable[..., list[str]],
        workers: int,
        meeting: Path,
        ddp_backend: str = "legacy_ddp",
        program: Sequence[str] = ("fairseq-train",),
    ) -> list[ForkedProcess]:
        """Start them; they find each other in the empty folder ``meeting``. A program of its own takes its options."""
        together = {
            "distributed_world_size": workers,
            "distributed_no_spawn": True,
            "device_id": 0,
            "distributed_init_method": f"file://{meeting}/file",
            "distributed_backend": "gloo",
            "ddp_backend": ddp_backend,
        }
        return [self.start(*program, *options(**together, distributed_rank=rank)) for rank in range(workers)]

    def train_signalled(self, number: str, kind: str, count: int, *arguments: str, save_dir: Path) -> Run:
        """Run fairseq-train with a signal at a moment, see ``signalled.py``."""
        return self.run(str(SIGNALLED), number, kind, count, "fairseq-train", *arguments, save_dir=save_dir)


def wait_for_all(workers: list[ForkedProcess], save_dir: Path) -> list[Run]:
    """Their ends; torch names the worker before each line of a last error."""
    ended = [worker.wait() for worker in workers]
    return [Run(e.returncode, e.stdout, re.sub(r"(?m)^\[rank\d\]: ?", "", e.stderr), save_dir) for e in ended]
