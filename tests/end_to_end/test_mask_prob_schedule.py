"""A rate of masks that changes over the updates is a function of the update alone."""

from functools import partial
from pathlib import Path

import pytest

from .commands import ForkedCommands, Run
from .conftest import Options
from .test_effective_batch import EXACT, assert_same_training
from .test_resume import assert_ended_alike

UPDATES = 13
"""Of an epoch 9."""
SCHEDULED = {"mask_prob_schedule": "linear:0.5:0.1:10", "batch_size": 10, "save_interval_updates": 5}


@pytest.fixture(scope="module")
def scheduled_options(distillation_options: Options) -> Options:
    return partial(distillation_options, **EXACT | SCHEDULED | {"max_update": UPDATES})


@pytest.fixture(scope="module")
def uninterrupted(
    commands: ForkedCommands, scheduled_options: Options, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    save_dir = tmp_path_factory.mktemp("scheduled")
    return commands.run("fairseq-train", *scheduled_options(save_dir), save_dir=save_dir).assert_succeeded()


def test_rates(uninterrupted: Run) -> None:
    """The first update, which the log calls 1, has the first rate."""
    rates = uninterrupted.scalars("train_inner")["scheduled_mask_prob"]
    assert rates == pytest.approx({1 + update: 0.5 - 0.04 * min(update, 10) for update in range(UPDATES)}, abs=1e-3)
    assert "scheduled_mask_prob" not in uninterrupted.scalars("valid")


def test_it_goes_on_within_an_epoch_with_other_data_workers(
    commands: ForkedCommands, uninterrupted: Run, scheduled_options: Options, tmp_path: Path
) -> None:
    """Which make batches ahead."""
    restored = {"restore_file": uninterrupted.save_dir / "checkpoint_1_5.pt", "num_workers": 2}
    arguments = scheduled_options(tmp_path, **restored)
    resumed = commands.run("fairseq-train", *arguments, save_dir=tmp_path).assert_succeeded()
    assert_ended_alike(resumed, uninterrupted, from_update=6)


@pytest.mark.slow
def test_two_workers_have_the_rates_of_one(
    commands: ForkedCommands, uninterrupted: Run, scheduled_options: Options, tmp_path: Path
) -> None:
    run = commands.run_workers(partial(scheduled_options, tmp_path, update_freq=1), 2, tmp_path)
    assert_same_training(run, uninterrupted)
