"""One effective batch gives one result, however it is divided into micro-batches and workers."""

from functools import partial
from pathlib import Path

import pytest
import torch

from .commands import TIMES, ForkedCommands, Run
from .conftest import BATCHES_AN_EPOCH, UPDATES_AN_EPOCH, Options

# No shuffling: batches then divide alike whatever their size. Unlike Adam's, SGD's steps scale with the gradient.
EXACT = {"dropout": 0, "attention_dropout": 0, "curriculum": 99, "optimizer": "sgd", "lr": 0.05}
UPDATES = UPDATES_AN_EPOCH + 4
BATCH_SIZES = {"wpb", "bsz"}  # in validation, of what a worker has at a time


@pytest.fixture(scope="module")
def exact_options(distillation_options: Options) -> Options:
    return partial(distillation_options, **EXACT, max_update=UPDATES)


@pytest.fixture(scope="module")
def accumulated(commands: ForkedCommands, exact_options: Options, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Each update from two micro-batches of 4, but the last of an epoch, which is of one."""
    save_dir = tmp_path_factory.mktemp("accumulated")
    run = commands.run("fairseq-train", *exact_options(save_dir), save_dir=save_dir).assert_succeeded()
    assert f"total_num_itrs = {UPDATES_AN_EPOCH}" in run.stdout and BATCHES_AN_EPOCH % 2 == 1
    return run


def assert_same_training(found: Run, expected: Run) -> None:
    torch.testing.assert_close(found.weights(), expected.weights(), rtol=1e-4, atol=1e-6)
    for tag in ("train_inner", "train", "valid"):
        ours, theirs = found.scalars(tag), expected.scalars(tag)
        assert ours.keys() == theirs.keys()
        for name in theirs.keys() - TIMES - BATCH_SIZES:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-6), f"{tag} {name}"


def test_two_micro_batches_equal_one_of_double_size(
    commands: ForkedCommands, accumulated: Run, exact_options: Options, tmp_path: Path
) -> None:
    arguments = exact_options(tmp_path, update_freq=1, batch_size=8)
    run = commands.run("fairseq-train", *arguments, save_dir=tmp_path).assert_succeeded()
    assert_same_training(run, accumulated)


def run_workers(
    commands: ForkedCommands, exact_options: Options, save_dir: Path, workers: int, **changed: object
) -> Run:
    """The first of several worker processes that train together."""
    return commands.run_workers(
        lambda **together: exact_options(save_dir, **together, **changed), workers=workers, save_dir=save_dir
    ).assert_succeeded()


def test_two_workers_equal_two_micro_batches(
    commands: ForkedCommands, accumulated: Run, exact_options: Options, tmp_path: Path
) -> None:
    assert_same_training(run_workers(commands, exact_options, tmp_path, workers=2, update_freq=1), accumulated)


def test_workers_that_accumulate_equal_one_that_does(
    commands: ForkedCommands, exact_options: Options, tmp_path: Path
) -> None:
    """41 batches: 10 updates of 2 workers x 2 micro-batches, then one of a single batch, and a worker that has none."""
    settings = {"max_update": 13}
    alone = commands.run(
        "fairseq-train", *exact_options(tmp_path / "alone", update_freq=4, **settings), save_dir=tmp_path / "alone"
    ).assert_succeeded()
    (tmp_path / "together").mkdir()
    together = run_workers(commands, exact_options, tmp_path / "together", workers=2, update_freq=2, **settings)
    assert_same_training(together, alone)
