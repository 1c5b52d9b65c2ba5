"""Tiny data, the options that all runs share, and the teacher and the student that several tests look at."""

import hashlib
import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ..forked_processes import ForkedProcess, ForkingServer
from .commands import ForkedCommands, Run, run_command

COMMON = {
    "user_dir": "fairseq_distil",
    "cpu": True,
    "task": "distil_masked_lm",
    "sample_break_mode": "complete",
    "tokens_per_sample": 16,
    "optimizer": "fused_adamw",
    "lr": 0.01,
    "batch_size": 4,
    "required_batch_size_multiple": 1,
    "num_workers": 0,
    "max_update": 12,
    "log_format": "json",
    "log_interval": 1,
}
TEACHER = {
    "arch": "distil_encoder",
    "encoder_layers": 4,
    "encoder_embed_dim": 16,
    "encoder_attention_heads": 2,
    "max_positions": 16,
    "criterion": "masked_lm",
    "optimizer": "adam",
    "batch_size": 16,
    "max_update": 60,
}
STUDENT = {"max_update": 44, "save_interval_updates": 5, "num_workers": 1}
SAMPLES = 168
BATCHES_AN_EPOCH = 42
UPDATES_AN_EPOCH = 21  # of two batches
SYMBOLS = [f"word{index}" for index in range(56)]

Options = Callable[..., list[str]]
StartScript = Callable[..., tuple[list[ForkedProcess], Path]]


@pytest.fixture(scope="session")
def commands(forking_server: ForkingServer) -> ForkedCommands:
    return ForkedCommands(forking_server)


@pytest.fixture(scope="session")
def corpus(write_data: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Binarised lines of words that are as unevenly frequent as a text's."""
    generator = random.Random(3)
    ids = range(4, 4 + len(SYMBOLS))
    frequencies = [1 / rank for rank in range(1, len(ids) + 1)]

    def line() -> list[int]:
        return generator.choices(ids, frequencies, k=generator.randint(3, 12))

    splits = {"train": [line() for _ in range(224)], "valid": [line() for _ in range(31)]}
    return write_data(tmp_path_factory.mktemp("corpus") / "binarised", splits, SYMBOLS)


@pytest.fixture(scope="session")
def options(corpus: str) -> Options:
    """Options of fairseq-train: the common ones, changed or added to by keyword; None leaves one out."""

    def as_arguments(save_dir: Path, data: str | Path = corpus, **changed: Any) -> list[str]:
        arguments = [str(data)]
        for name, value in ({"save_dir": save_dir, "tensorboard_logdir": save_dir} | COMMON | changed).items():
            if value is not None:
                arguments += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
        return arguments

    return as_arguments


@pytest.fixture(scope="session")
def teacher(options: Options, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An encoder of 4 layers, trained by fairseq's own ``masked_lm`` criterion."""
    save_dir = tmp_path_factory.mktemp("teacher")
    return run_command("fairseq-train", *options(save_dir, **TEACHER), save_dir=save_dir).assert_succeeded()


@pytest.fixture(scope="session")
def teacher_path(teacher: Run) -> Path:
    return teacher.save_dir / "checkpoint_last.pt"


@pytest.fixture(scope="session")
def teacher_digest(teacher_path: Path) -> str:
    """Of the teacher's file before anything was distilled from it."""
    return hashlib.sha256(teacher_path.read_bytes()).hexdigest()


@pytest.fixture(scope="session")
def distillation_options(options: Options, teacher_path: Path, teacher_digest: str) -> Options:
    """Options that distil the teacher into 2 layers, with dropout and batches of two micro-batches of 4."""
    defaults = {"arch": "teacher_student", "teacher": teacher_path, "criterion": "distillation", "update_freq": 2}
    return lambda save_dir, **changed: options(save_dir, **defaults | changed)


@pytest.fixture(scope="session")
def student(commands: ForkedCommands, distillation_options: Options, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two epochs of distillation, uninterrupted, with a checkpoint every fifth update."""
    save_dir = tmp_path_factory.mktemp("student")
    arguments = distillation_options(save_dir, **STUDENT)
    return commands.run("fairseq-train", *arguments, save_dir=save_dir).assert_succeeded()


@pytest.fixture(scope="session")
def recipe(corpus: str, teacher_path: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of fairseq-hydra-train for what ``student`` does, all but ``checkpoint.save_dir``."""
    settings = {
        "common": {
            "user_dir": "fairseq_distil",
            "cpu": True,
            "log_format": "json",
            "log_interval": 1,
            "tensorboard_logdir": "${checkpoint.save_dir}",
        },
        "task": {
            "_name": "distil_masked_lm",
            "data": corpus,
            "sample_break_mode": "complete",
            "tokens_per_sample": 16,
        },
        "model": {"_name": "teacher_student", "teacher": str(teacher_path)},
        "criterion": {"_name": "distillation"},
        "dataset": {"batch_size": 4, "required_batch_size_multiple": 1, "num_workers": STUDENT["num_workers"]},
        "optimizer": {"_name": "fused_adamw"},
        "lr_scheduler": {"_name": "fixed"},
        "optimization": {"lr": [0.01], "update_freq": [2], "max_update": STUDENT["max_update"]},
        "checkpoint": {"save_dir": "???", "save_interval_updates": STUDENT["save_interval_updates"]},
        "hydra": {"run": {"dir": "${checkpoint.save_dir}"}, "job": {"chdir": False}},
    }
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "student.yaml").write_text(json.dumps(settings))  # JSON is YAML
    return ["--config-dir", str(folder), "--config-name", "student"]


@pytest.fixture(scope="session")
def worker_options(distillation_options: Options) -> Options:
    return partial(distillation_options, **STUDENT | {"update_freq": 1})


@pytest.fixture(scope="session")
def two_workers(commands: ForkedCommands, worker_options: Options, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Their undisturbed run."""
    save_dir = tmp_path_factory.mktemp("two_workers")
    return commands.run_workers(partial(worker_options, save_dir), 2, save_dir)


@pytest.fixture
def start_again(commands: ForkedCommands, worker_options: Options, tmp_path: Path) -> Callable[[], Run]:
    """Runs both to the end in ``tmp_path``."""
    return lambda: commands.run_workers(partial(worker_options, tmp_path), 2, tmp_path)


@pytest.fixture
def start_script(
    commands: ForkedCommands, worker_options: Options, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> StartScript:
    """Starts two workers in ``tmp_path`` by a script, which gets an argument, and then the options of fairseq-train.

    Gives them, and the folder of the script.
    """

    def start(script: str, argument: int, **settings: str) -> tuple[list[ForkedProcess], Path]:
        path = tmp_path_factory.mktemp("script") / "train.py"
        path.write_text(script)
        options, program = partial(worker_options, tmp_path), (str(path), str(argument))
        return commands.start_workers(options, 2, path.parent, program=program, **settings), path.parent

    return start
