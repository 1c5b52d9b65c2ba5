"""A run that is killed and started again gives what an uninterrupted one does, to the last bit."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from .commands import TIMES, ForkedCommands, Run, start_command
from .conftest import BATCHES_AN_EPOCH, STUDENT, UPDATES_AN_EPOCH, Options


def assert_ended_alike(resumed: Run, uninterrupted: Run, from_update: int) -> None:
    """Same weights, optimiser state, and everything that was logged from an update on."""
    found, expected = resumed.checkpoint(), uninterrupted.checkpoint()
    assert found["optimizer_history"][-1] == expected["optimizer_history"][-1]
    torch.testing.assert_close(found["model"], expected["model"], rtol=0, atol=0)
    states = (checkpoint["last_optimizer_state"]["state"] for checkpoint in (found, expected))
    torch.testing.assert_close(*states, rtol=0, atol=0)
    for tag in ("train_inner", "train", "valid"):
        found_scalars, expected_scalars = resumed.scalars(tag), uninterrupted.scalars(tag)
        for name in expected_scalars.keys() - TIMES:
            expected_values = {
                update: value for update, value in expected_scalars[name].items() if update >= from_update
            }
            assert expected_values.items() <= found_scalars[name].items(), f"{tag} {name}"


def test_run_killed_in_mid_epoch_and_started_again(
    commands: ForkedCommands, student: Run, distillation_options: Options, tmp_path: Path
) -> None:
    arguments = distillation_options(tmp_path, **STUDENT)
    # It is at most the pipe's few updates ahead of what is read, so it is killed within the second epoch.
    doomed = start_command("fairseq-train", *arguments)
    while f'"num_updates": "{UPDATES_AN_EPOCH + 6}"'.encode() not in doomed.stdout.readline():
        assert doomed.poll() is None
    doomed.kill()
    assert doomed.wait() == -signal.SIGKILL
    doomed.stdout.close()

    position = torch.load(tmp_path / "checkpoint_last.pt")["extra_state"]["train_iterator"]
    assert position["epoch"] == 2 and 0 < position["iterations_in_epoch"] < BATCHES_AN_EPOCH
    resumed = commands.run("fairseq-train", *arguments, save_dir=tmp_path).assert_succeeded()
    first_update = UPDATES_AN_EPOCH + position["iterations_in_epoch"] // 2 + 1
    assert int(resumed.logged("train_inner")[0]["num_updates"]) == first_update
    assert_ended_alike(resumed, student, from_update=1)


def test_restored_file_continues_in_another_folder_without_data_workers(
    commands: ForkedCommands, student: Run, distillation_options: Options, tmp_path: Path
) -> None:
    restore_file = student.save_dir / "checkpoint_1_10.pt"
    arguments = distillation_options(tmp_path, restore_file=restore_file, **STUDENT | {"num_workers": 0})
    resumed = commands.run("fairseq-train", *arguments, save_dir=tmp_path).assert_succeeded()
    assert_ended_alike(resumed, student, from_update=11)


def test_reset_optimizer_starts_anew_from_the_restored_weights(
    commands: ForkedCommands, student: Run, distillation_options: Options, tmp_path: Path
) -> None:
    restored = {"restore_file": student.save_dir / "checkpoint_last.pt", "reset_optimizer": True}
    arguments = distillation_options(tmp_path, **restored, reset_dataloader=True, lr=0, max_update=3)
    run = commands.run("fairseq-train", *arguments, save_dir=tmp_path).assert_succeeded()
    torch.testing.assert_close(run.weights(), student.weights(), rtol=0, atol=0)
    states = run.checkpoint()["last_optimizer_state"]["state"].values()
    assert {int(state["step"]) for state in states} == {3}


@pytest.mark.slow
def test_a_learning_rate_that_validation_reduces(
    commands: ForkedCommands, distillation_options: Options, tmp_path: Path
) -> None:
    """After the second epoch that is not much better than the first one, though the run is started anew at each."""
    plateau = {"lr_scheduler": "reduce_lr_on_plateau", "lr_patience": 1, "lr_threshold": 0.9, "lr_shrink": 0.5}
    settings = plateau | {"batch_size": 28, "max_update": None}
    arguments = distillation_options(tmp_path / "one", **settings, max_epoch=4)
    undisturbed = commands.run("fairseq-train", *arguments, save_dir=tmp_path / "one").assert_succeeded()
    assert sorted(undisturbed.scalars("train")["lr"].values()) == pytest.approx([0.005, 0.01, 0.01, 0.01])
    for epochs in range(1, 5):
        arguments = distillation_options(tmp_path / "two", **settings, max_epoch=epochs)
        run = commands.run("fairseq-train", *arguments, save_dir=tmp_path / "two").assert_succeeded()
    assert_ended_alike(run, undisturbed, from_update=1)


@pytest.fixture
def heavy_options(distillation_options: Options, tmp_path: Path) -> Options:
    """A run that does little else than write checkpoints, 6 MB at every update."""
    size = {"student_init": "random", "encoder_ffn_embed_dim": 8_000}
    saving = {"save_interval_updates": 1, "keep_interval_updates": 1, "max_update": 200}
    return partial(distillation_options, tmp_path, **size, **saving)


def wait_for_newer_file(folder: Path, pattern: str, since: int) -> None:
    """Wait for a file that was modified after ``since``, in nanoseconds."""

    def modified(path: Path) -> int:
        try:
            return path.stat().st_mtime_ns
        except FileNotFoundError:  # renamed in the meantime
            return 0

    deadline = time.monotonic() + 240  # on a machine that does much else
    while not any(modified(path) > since for path in folder.glob(pattern)):
        assert time.monotonic() < deadline, f"no {pattern} in {folder}"
        time.sleep(0.0005)


def test_killed_while_saving_leaves_whole_checkpoints(
    commands: ForkedCommands, heavy_options: Options, tmp_path: Path
) -> None:
    """Killed as it writes each kind of file, and at arbitrary moments; started again each time by the same command."""
    moments = ["checkpoint_last.pt.*.tmp", "checkpoint_best.pt.*.tmp", "checkpoint_*_*.pt.*.tmp", 0.0, 0.04]
    updates = 0
    for moment in moments:
        doomed = commands.start("fairseq-train", *heavy_options())
        wait_for_newer_file(tmp_path, "checkpoint_last.pt", since=time.time_ns())
        if isinstance(moment, str):
            wait_for_newer_file(tmp_path, moment, since=time.time_ns())
        else:
            time.sleep(moment)
        os.kill(doomed.id, signal.SIGKILL)
        assert doomed.wait().returncode == -signal.SIGKILL

        torch.load(tmp_path / "checkpoint_best.pt")
        reached = torch.load(tmp_path / "checkpoint_last.pt")["optimizer_history"][-1]["num_updates"]
        assert reached > updates
        updates = reached
    arguments = heavy_options(max_update=updates + 2)
    finished = commands.run("fairseq-train", *arguments, save_dir=tmp_path).assert_succeeded()
    assert finished.checkpoint()["optimizer_history"][-1]["num_updates"] == updates + 2
