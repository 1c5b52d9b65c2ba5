"""One effective batch gives one result, however it is divided into micro-batches and workers."""

from functools import partial
from pathlib import Path

import pytest
import torch

from .commands import TIMES, ForkedCommands, Run
from .conftest import SAMPLES, Options

# No shuffling: batches then divide alike whatever their size. Unlike Adam's, SGD's steps scale with the gradient.
EXACT = {"dropout": 0, "attention_dropout": 0, "curriculum": 99, "optimizer": "sgd", "lr": 0.05}
UNEVEN = {"batch_size": 10, "max_update": 13}
"""17 batches an epoch, the last of 8 samples."""
BATCH_SIZES = {"wpb", "bsz"}  # in validation, of what a worker has at a time


@pytest.fixture(scope="module")
def exact_options(distillation_options: Options) -> Options:
    return partial(distillation_options, **EXACT | UNEVEN)


@pytest.fixture(scope="module")
def accumulated(commands: ForkedCommands, exact_options: Options, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Each update from two micro-batches of 10, but the last of an epoch, which is of one of 8."""
    save_dir = tmp_path_factory.mktemp("accumulated")
    run = commands.run("fairseq-train", *exact_options(save_dir), save_dir=save_dir).assert_succeeded()
    samples = [int(record["bsz"]) for record in run.logged("train_inner")]
    assert samples[:9] == [20] * 8 + [8] and sum(samples[:9]) == SAMPLES
    return run


def assert_same_training(found: Run, expected: Run) -> None:
    ours, theirs = found.checkpoint(), expected.checkpoint()
    for part in ("model", "criterion"):
        torch.testing.assert_close(ours[part], theirs[part], rtol=1e-4, atol=1e-6)
    for tag in ("train_inner", "train", "valid"):
        ours, theirs = found.scalars(tag), expected.scalars(tag)
        assert ours.keys() == theirs.keys()
        for name in theirs.keys() - TIMES - BATCH_SIZES:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-6), f"{tag} {name}"


def test_two_micro_batches_equal_one_of_double_size(
    commands: ForkedCommands, accumulated: Run, exact_options: Options, tmp_path: Path
) -> None:
    arguments = exact_options(tmp_path, update_freq=1, batch_size=20)
    run = commands.run("fairseq-train", *arguments, save_dir=tmp_path).assert_succeeded()
    assert_same_training(run, accumulated)


@pytest.mark.parametrize("ddp_backend", ["legacy_ddp", "pytorch_ddp"])
def test_two_workers_equal_two_micro_batches(
    commands: ForkedCommands, accumulated: Run, exact_options: Options, tmp_path: Path, ddp_backend: str
) -> None:
    """In the last update of an epoch the second worker has no batch."""
    options = partial(exact_options, tmp_path, update_freq=1)
    first, second = commands.run_each_worker(options, 2, tmp_path, ddp_backend)
    assert_same_training(first, accumulated)
    assert "train_inner" in first.stdout and "train_inner" not in second.stdout


@pytest.fixture(scope="module")
def six_batches(commands: ForkedCommands, exact_options: Options, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Each update from 6 batches of 10, but the last of an epoch, which is of 4 and one of 8 samples."""
    save_dir = tmp_path_factory.mktemp("six")
    arguments = exact_options(save_dir, update_freq=6, max_update=7)
    run = commands.run("fairseq-train", *arguments, save_dir=save_dir).assert_succeeded()
    assert [record["bsz"] for record in run.logged("train_inner")[:3]] == ["60", "60", "48"]
    return run


@pytest.mark.parametrize(
    ("workers", "ddp_backend"),
    [
        (2, "legacy_ddp"),
        (3, "pytorch_ddp"),
        pytest.param(3, "legacy_ddp", marks=pytest.mark.slow),
        pytest.param(2, "pytorch_ddp", marks=pytest.mark.slow),
    ],
)
def test_workers_that_accumulate_equal_one_that_does(
    commands: ForkedCommands, six_batches: Run, exact_options: Options, tmp_path: Path, workers: int, ddp_backend: str
) -> None:
    """In the last update of an epoch, of 5 batches, the last worker has one less than the others."""
    options = partial(exact_options, tmp_path, update_freq=6 // workers, max_update=7)
    assert_same_training(commands.run_workers(options, workers, tmp_path, ddp_backend), six_batches)


@pytest.mark.parametrize("ddp_backend", ["legacy_ddp", pytest.param("pytorch_ddp", marks=pytest.mark.slow)])
def test_two_workers_share_the_projection_of_a_narrower_student(
    commands: ForkedCommands, exact_options: Options, tmp_path: Path, ddp_backend: str
) -> None:
    """It is the criterion's: a gradient that workers did not exchange, or a restart without it, would be seen."""
    narrow = partial(exact_options, encoder_embed_dim=8, encoder_attention_heads=1, encoder_ffn_embed_dim=24)
    alone, together = tmp_path / "alone", tmp_path / "together"
    expected = commands.run("fairseq-train", *narrow(alone), save_dir=alone).assert_succeeded()
    projection = expected.checkpoint("checkpoint1.pt")["criterion"]["width_projection.weight"]
    assert projection.shape == (16, 8)
    assert not torch.allclose(projection, expected.checkpoint()["criterion"]["width_projection.weight"], rtol=1e-3)
    for updates in (9, UNEVEN["max_update"]):  # to the end of an epoch, and on
        options = partial(narrow, together, update_freq=1, max_update=updates)
        run = commands.run_workers(options, 2, together, ddp_backend)
    assert_same_training(run, expected)


@pytest.mark.slow
@pytest.mark.parametrize("ddp_backend", ["legacy_ddp", "pytorch_ddp"])
def test_two_workers_go_on_when_terms_have_faded(
    commands: ForkedCommands, exact_options: Options, tmp_path: Path, ddp_backend: str
) -> None:
    """The masked-LM head, which they alone read, still has a gradient, which pytorch_ddp waits for."""
    fading = partial(exact_options, schedules="soft_target_weight=linear:1:0:3,mlm_weight=linear:1:0:4")
    alone, together = tmp_path / "alone", tmp_path / "together"
    expected = commands.run("fairseq-train", *fading(alone), save_dir=alone).assert_succeeded()
    for name, updates in (("soft_target_loss", 3), ("mlm_loss", 4), ("cosine_loss", 13)):
        told = [record.get(name) is not None for record in expected.logged("train_inner")]
        assert told == [True] * updates + [False] * (13 - updates)
    options = partial(fading, together, update_freq=1)
    assert_same_training(commands.run_workers(options, 2, together, ddp_backend), expected)


@pytest.mark.slow
@pytest.mark.parametrize("ddp_backend", ["legacy_ddp", "pytorch_ddp"])
def test_two_of_three_workers_without_any_batch(
    commands: ForkedCommands, exact_options: Options, tmp_path: Path, ddp_backend: str
) -> None:
    """19 batches of 9, the last of 6 samples: 3 updates of 6, and one of that alone."""
    settings = {"batch_size": 9, "max_update": 6}
    alone = tmp_path / "alone"
    expected = commands.run("fairseq-train", *exact_options(alone, update_freq=6, **settings), save_dir=alone)
    assert [record["bsz"] for record in expected.assert_succeeded().logged("train_inner")[2:4]] == ["54", "6"]
    together = tmp_path / "together"
    options = partial(exact_options, together, update_freq=2, **settings)
    assert_same_training(commands.run_workers(options, 3, together, ddp_backend), expected)
