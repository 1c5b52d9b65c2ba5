"""The same training by the real ``fairseq-train``, timed by when its log lines arrive."""

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from fairseq import tasks
from fairseq.dataclass.configs import FairseqConfig
from omegaconf import OmegaConf

import fairseq_distil
from fairseq_distil.errors import UserError

from .device import environment_with_one_gpu
from .peak_memory import peak_mib_of_children
from .random_data import write_random_data
from .training_case import TrainingCase
from .training_measure import record
from .training_parts import CLIP_NORM, LEARNING_RATE, TEACHER_FILE, settings_of, write_random_teacher

MARK = "| train_inner | {"
SPARE_BATCHES = 8
"""So that no epoch begins among the timed updates: its data worker is a fork, after which all memory is copied once."""


class Moment(NamedTuple):
    """When the log told of an update, and what."""

    arrival: float
    """in seconds"""
    bits: float
    """mean loss since the log last told"""
    gib_free: float | None
    """of the GPU's memory, at the update's peak"""


def measure_fairseq_train(case: TrainingCase) -> dict[str, Any]:
    """Time the second half of twice as many updates of ``fairseq-train``, which logs at the end of each half.

    Raises:
        UserError: it fails
    """
    updates = 2 * case.steps
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory)
        write_random_data(data, case.vocab, case.lengths, case.batch * (updates + SPARE_BATCHES))
        if case.distils:
            _write_teacher(case, data)
        moments = _moments_of_updates(fairseq_train_command(case, data, updates), case.device)
    if sorted(moments) != [case.steps, updates]:
        raise UserError(f"fairseq-train logged the updates {sorted(moments)}, expected {case.steps} and {updates}")
    first, last = moments[case.steps], moments[updates]
    measured = {
        "seconds_per_step": (last.arrival - first.arrival) / case.steps,
        "peak_mib": peak_mib_of_children() if case.device_type == "cpu" else _gpu_peak_mib(case.device, last.gib_free),
        "last_loss": last.bits * math.log(2),
        "computed_in": None,  # its log does not tell
    }
    return record(case, measured)


def fairseq_train_command(case: TrainingCase, data: Path, updates: int) -> list[str]:
    """The command that trains as :func:`~fairseq_distil.benchmarks.training_parts.build_parts` sets things up."""
    settings = settings_of(case, data)
    names = {"model": "--arch", "task": "--task", "criterion": "--criterion", "optimizer": "--optimizer"}
    command = [sys.executable, "-m", "fairseq_cli.train", str(data), "--user-dir", fairseq_distil.__path__[0]]
    for part, fields in settings.items():
        for field, value in fields.items():
            if field == "_name":
                command += [names[part], str(value)]
            elif value is True:
                command.append(f"--{field.replace('_', '-')}")
            elif field not in ("data", "arch") and value is not False:
                command += [f"--{field.replace('_', '-')}", str(value)]
    command += ["--lr", str(LEARNING_RATE), "--lr-scheduler", "fixed", "--clip-norm", str(CLIP_NORM)]
    command += ["--batch-size", str(case.batch), "--max-update", str(updates), "--no-save", "--disable-validation"]
    command += ["--log-format", "json", "--log-interval", str(updates // 2), "--seed", "0"]
    return command + ["--cpu"] * (case.device_type == "cpu")


def _write_teacher(case: TrainingCase, data: Path) -> None:
    settings = OmegaConf.merge(OmegaConf.structured(FairseqConfig), {"task": settings_of(case, data)["task"]})
    write_random_teacher(case, tasks.setup_task(settings.task), data / TEACHER_FILE)


def _moments_of_updates(command: list[str], device: str) -> dict[int, Moment]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace", "bufsize": 1}
    process = subprocess.Popen(command, env=environment_with_one_gpu(device), **pipes)
    with process:
        moments, tail = read_moments(process.stdout)
    if process.returncode:
        raise UserError(f"fairseq-train failed: {tail.removeprefix('error: ')}")
    return moments


def read_moments(lines: Iterable[str]) -> tuple[dict[int, Moment], str]:
    """By update, what the lines tell of them, and the last line of all."""
    moments, line = {}, ""
    for line in lines:
        if MARK in line:
            values = json.loads("{" + line.split(MARK, 1)[1])
            free = values.get("gb_free")
            moment = Moment(time.perf_counter(), float(values["loss"]), None if free is None else float(free))
            moments[int(values["num_updates"])] = moment
    return moments, line.strip()


def _gpu_peak_mib(device: str, gib_free: float | None) -> float:
    """What fairseq's log leaves of the GPU's memory, in tenths of a GiB."""
    if gib_free is None:
        raise UserError("fairseq-train did not log gb_free, the memory that a GPU has left: it found no GPU")
    return torch.cuda.get_device_properties(device).total_memory / 2**20 - 1024 * gib_free
