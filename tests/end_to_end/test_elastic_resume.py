"""A run goes on with other workers, micro-batches or batches than it began with."""

from functools import partial
from pathlib import Path

import pytest
import torch

from .commands import TIMES, ForkedCommands, Run
from .conftest import SAMPLES, Options
from .test_effective_batch import EXACT

UPDATES = 8
"""The third epoch's second; an epoch is of 2 updates of 6 batches, and one of 5."""


@pytest.fixture
def shuffled_options(distillation_options: Options) -> Options:
    return partial(distillation_options, **EXACT | {"curriculum": 0, "batch_size": 10})


def test_two_workers_then_one_then_three_give_what_one_gives(
    commands: ForkedCommands, shuffled_options: Options, tmp_path: Path
) -> None:
    """Each stops in the middle of an epoch, in which the next goes on from its checkpoint."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    arguments = shuffled_options(alone, update_freq=6, max_update=UPDATES)
    expected = commands.run("fairseq-train", *arguments, save_dir=alone).assert_succeeded()

    commands.run_workers(partial(shuffled_options, together, update_freq=3, max_update=1), 2, together)
    arguments = shuffled_options(together, update_freq=6, max_update=4)
    commands.run("fairseq-train", *arguments, save_dir=together).assert_succeeded()
    last = commands.run_workers(
        partial(shuffled_options, together, update_freq=2, max_update=UPDATES), 3, together, ddp_backend="pytorch_ddp"
    )

    assert [int(record["num_updates"]) for record in last.logged("train_inner")] == [*range(5, UPDATES + 1)]
    torch.testing.assert_close(last.weights(), expected.weights(), rtol=1e-4, atol=1e-6)
    found = last.scalars("train_inner")
    for name, values in expected.scalars("train_inner").items():
        if name not in TIMES:
            assert found[name] == pytest.approx(values, rel=1e-4, abs=1e-6), name


@pytest.mark.slow
@pytest.mark.parametrize("ddp_backend", ["pytorch_ddp", "legacy_ddp"])
def test_three_workers_go_on_to_the_last_bit(
    ddp_backend: str, commands: ForkedCommands, shuffled_options: Options, tmp_path: Path
) -> None:
    """The order of a sum of two does not matter, that of three does."""

    def train(folder: str, updates: int) -> Run:
        options = partial(shuffled_options, tmp_path / folder, update_freq=2, max_update=updates, hidden_weight=1)
        return commands.run_workers(options, 3, tmp_path / folder, ddp_backend=ddp_backend)

    expected = train("undisturbed", UPDATES)
    train("stopped", 3)
    resumed = train("stopped", UPDATES)
    assert [int(record["num_updates"]) for record in resumed.logged("train_inner")] == [*range(4, UPDATES + 1)]
    torch.testing.assert_close(resumed.weights(), expected.weights(), rtol=0, atol=0)


@pytest.mark.slow
def test_another_batch_size_goes_through_the_rest_of_the_epoch(
    commands: ForkedCommands, shuffled_options: Options, tmp_path: Path
) -> None:
    def samples_of(run: Run) -> list[float]:
        return [float(record["bsz"]) for record in run.assert_succeeded().logged("train_inner")]

    run = partial(commands.run, "fairseq-train", save_dir=tmp_path)
    first = samples_of(run(*shuffled_options(tmp_path, max_update=3)))
    second = samples_of(run(*shuffled_options(tmp_path, max_epoch=1, max_update=99, batch_size=4, update_freq=1)))
    assert first == [20, 20, 20] and second == 27 * [4]
    assert sum(first) + sum(second) == SAMPLES
