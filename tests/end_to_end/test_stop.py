"""A scheduler's SIGTERM: the update is finished, a checkpoint written, and the run goes on as if nothing had been."""

import signal
from pathlib import Path

import pytest

from .commands import ForkedCommands, Run
from .conftest import STUDENT, UPDATES_AN_EPOCH, Options
from .test_resume import assert_ended_alike

EXIT_STOPPED = 128 + signal.SIGTERM
BATCHES_OF_VALIDATION = 6
VALIDATIONS_AN_EPOCH = 5  # after updates 5, 10, 15, 20 and 21


def names(run: Run) -> list[str]:
    return sorted(path.name for path in run.save_dir.glob("*.pt*"))


@pytest.mark.parametrize(
    ("moment", "count", "updates"),
    [
        pytest.param("call", 450_000, None, marks=pytest.mark.slow),
        pytest.param("valid_step", 3, 5, marks=pytest.mark.slow),
        ("valid_step", BATCHES_OF_VALIDATION * (VALIDATIONS_AN_EPOCH - 1) + 2, UPDATES_AN_EPOCH),
    ],
    ids=["update", "validation", "validation-at-the-end-of-an-epoch"],
)
def test_stopped_and_started_again(
    moment: str,
    count: int,
    updates: int | None,
    commands: ForkedCommands,
    student: Run,
    distillation_options: Options,
    tmp_path: Path,
) -> None:
    arguments = distillation_options(tmp_path, **STUDENT)
    stopped = commands.train_signalled("SIGTERM", moment, count, *arguments, save_dir=tmp_path)
    assert stopped.exit_status == EXIT_STOPPED, stopped.stderr
    assert "Traceback" not in stopped.stdout + stopped.stderr
    last_update = int(stopped.logged("train_inner")[-1]["num_updates"])
    assert stopped.checkpoint()["optimizer_history"][-1]["num_updates"] == last_update
    assert updates in (None, last_update)
    if moment == "valid_step":  # that validation did not come to its end
        assert all(int(record["valid_num_updates"]) < last_update for record in stopped.logged("valid"))
    resumed = commands.run("fairseq-train", *arguments, save_dir=tmp_path).assert_succeeded()
    assert int(resumed.logged("train_inner")[0]["num_updates"]) == last_update + 1
    assert names(resumed) == names(student)
    assert_ended_alike(resumed, student, from_update=1)


def test_stopped_after_the_last_epoch(commands: ForkedCommands, distillation_options: Options, tmp_path: Path) -> None:
    """No other epoch begins, in which what is due then could be made up for."""
    settings = STUDENT | {"max_update": None, "max_epoch": 1}
    undisturbed = commands.run(
        "fairseq-train", *distillation_options(tmp_path / "one", **settings), save_dir=tmp_path / "one"
    ).assert_succeeded()
    save_dir = tmp_path / "two"
    arguments = distillation_options(save_dir, **settings)
    moment = BATCHES_OF_VALIDATION * (VALIDATIONS_AN_EPOCH - 1) + 2
    stopped = commands.train_signalled("SIGTERM", "valid_step", moment, *arguments, save_dir=save_dir)
    assert stopped.exit_status == EXIT_STOPPED, stopped.stderr
    resumed = commands.run("fairseq-train", *arguments, save_dir=save_dir).assert_succeeded()
    assert [int(record["valid_num_updates"]) for record in resumed.logged("valid")] == [UPDATES_AN_EPOCH]
    assert names(resumed) == names(undisturbed)
    assert_ended_alike(resumed, undisturbed, from_update=1)
    for name in ("checkpoint_last.pt", "checkpoint_best.pt"):
        found, expected = (run.checkpoint(name)["extra_state"] for run in (resumed, undisturbed))
        assert (found["best"], found["val_loss"]) == (expected["best"], expected["val_loss"])
    again = commands.run("fairseq-train", *arguments, save_dir=save_dir).assert_succeeded()
    assert again.logged("valid") == []


@pytest.mark.slow
def test_means_over_updates_on_both_sides_of_a_stop(
    commands: ForkedCommands, distillation_options: Options, tmp_path: Path
) -> None:
    """Update 24 logs the means of four, the first of which is the last of an epoch and followed by the stop."""
    settings = STUDENT | {"log_interval": 4, "max_update": 26}
    undisturbed = commands.run(
        "fairseq-train", *distillation_options(tmp_path / "one", **settings), save_dir=tmp_path / "one"
    ).assert_succeeded()
    arguments = distillation_options(tmp_path / "two", **settings)
    at_the_end_of_an_epoch = BATCHES_OF_VALIDATION * (VALIDATIONS_AN_EPOCH - 1) + 2
    stopped = commands.train_signalled("SIGTERM", "valid_step", at_the_end_of_an_epoch, *arguments, save_dir=tmp_path)
    assert stopped.exit_status == EXIT_STOPPED
    resumed = commands.run("fairseq-train", *arguments, save_dir=tmp_path / "two").assert_succeeded()
    assert [int(record["num_updates"]) for record in resumed.logged("train_inner")] == [24]
    assert_ended_alike(resumed, undisturbed, from_update=1)


@pytest.mark.slow
def test_patience_is_not_counted_anew(commands: ForkedCommands, distillation_options: Options, tmp_path: Path) -> None:
    """At a learning rate of 0, the sixth validation is the fifth one in turn that is no better."""
    settings = {"lr": 0, "patience": 5, "max_update": 44, "save_interval_updates": 2}
    undisturbed = commands.run(
        "fairseq-train", *distillation_options(tmp_path / "one", **settings), save_dir=tmp_path / "one"
    ).assert_succeeded()
    assert int(undisturbed.logged("train_inner")[-1]["num_updates"]) == 12
    arguments = distillation_options(tmp_path / "two", **settings)
    for moment in (8, 1_000):  # in the second validation, and never
        run = commands.train_signalled("SIGTERM", "valid_step", moment, *arguments, save_dir=tmp_path / "two")
    assert_ended_alike(run.assert_succeeded(), undisturbed, from_update=1)


def test_a_finished_run_makes_no_more_updates(
    commands: ForkedCommands, student: Run, distillation_options: Options
) -> None:
    before = {path.name: path.read_bytes() for path in student.save_dir.glob("*.pt")}
    arguments = distillation_options(student.save_dir, **STUDENT)
    again = commands.run("fairseq-train", *arguments, save_dir=student.save_dir).assert_succeeded()
    assert again.logged("train_inner") == [] and "44 updates of 44 already" in again.stdout
    assert {path.name: path.read_bytes() for path in student.save_dir.glob("*.pt")} == before


@pytest.mark.slow
def test_a_killed_data_worker(
    commands: ForkedCommands, student: Run, distillation_options: Options, tmp_path: Path
) -> None:
    """The update that is being made needs no further batch; what was made is kept."""
    arguments = distillation_options(tmp_path, **STUDENT)
    killed = commands.train_signalled("WORKERS", "call", 50_000, *arguments, save_dir=tmp_path)
    killed.assert_one_error_line("a data worker was killed", "--num-workers", "started again, the run goes on")
    last_update = int(killed.logged("train_inner")[-1]["num_updates"])
    assert killed.checkpoint()["optimizer_history"][-1]["num_updates"] == last_update
    resumed = commands.run("fairseq-train", *arguments, save_dir=tmp_path).assert_succeeded()
    assert int(resumed.logged("train_inner")[0]["num_updates"]) == last_update + 1
    assert names(resumed) == names(student)
    assert_ended_alike(resumed, student, from_update=1)
