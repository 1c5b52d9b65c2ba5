"""Distillation from soft targets that were computed once."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from .commands import ForkedCommands, Run
from .conftest import UPDATES_AN_EPOCH, Options
from .test_distil import validation_options
from .test_resume import assert_ended_alike
from .test_stop import EXIT_STOPPED

WITHOUT_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0}
OBJECTIVE = {"soft_target_top_k": 8, "soft_target_positions": "masked", "cosine_weight": 0.0}
NAMES = ("num_updates", "loss", "soft_target_loss", "mlm_loss", "teacher_agreement")


def losses(*runs: Run) -> list[float]:
    """Of each update of runs that go on one from the other, and of the last validation."""
    updates = [record for run in runs for record in run.logged("train_inner")]
    validated = [runs[-1].logged("valid")[-1][f"valid_{name}"] for name in NAMES[1:]]
    return [float(value) for value in [*(record[name] for record in updates for name in NAMES), *validated]]


def test_it_trains_alike_with_two_workers_and_resumed(
    commands: ForkedCommands, distillation_options: Options, corpus: str, tmp_path: Path
) -> None:
    """In three epochs with the masks of the first, of which the second run begins in the midst of one."""
    same = WITHOUT_DROPOUT | OBJECTIVE | {"repeat_masks_after": 1, "num_workers": 1, "lr": 0.001}

    def train(name: str, **changed: Any) -> Run:
        options = partial(distillation_options, tmp_path / name, **same | changed)
        return commands.run_workers(options, 2, tmp_path / name)

    plain = train("plain", max_update=30)
    first = train("stored", max_update=16, teacher_cache=tmp_path / "outputs")
    assert first.stdout.count("bytes written") == 2
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == ["train.1.teacher", "valid.1.teacher"]
    rest = train("stored", max_update=30, teacher_cache=tmp_path / "outputs")
    assert "teacher outputs" not in rest.stdout
    assert plain.logged("train_inner")[-1]["epoch"] == 3
    assert len(losses(plain)) == 30 * 5 + 4
    arguments = validation_options(rest.save_dir / "checkpoint_last.pt", corpus, "--repeat-masks-after", "1")
    validated = commands.run("fairseq-validate", *arguments, save_dir=tmp_path).assert_succeeded()
    assert "teacher outputs" not in validated.stdout
    last, own = rest.logged("valid")[-1], validated.logged("valid")[-1]
    assert [own[f"valid_{name}"] for name in NAMES[1:]] == [last[f"valid_{name}"] for name in NAMES[1:]]
    assert losses(first, rest) == pytest.approx(losses(plain), abs=0.02)


@pytest.mark.parametrize("save_interval", [1, 2])
def test_stopped_while_they_are_computed(
    commands: ForkedCommands, distillation_options: Options, save_interval: int, tmp_path: Path
) -> None:
    """Those of the second epoch, before its first update; nothing of them is kept, but the updates before are."""
    settings = OBJECTIVE | {"repeat_masks_after": 2, "max_update": UPDATES_AN_EPOCH + 2}
    settings |= {"save_interval_updates": 0, "save_interval": save_interval}

    def arguments(name: str) -> list[str]:
        return distillation_options(tmp_path / name, **settings, teacher_cache=tmp_path / f"outputs-{name}")

    undisturbed = commands.run("fairseq-train", *arguments("one"), save_dir=tmp_path / "one").assert_succeeded()
    step = ("SIGTERM", "train_step", UPDATES_AN_EPOCH + 1)
    stopped = commands.train_signalled(*step, *arguments("two"), save_dir=tmp_path / "two")
    assert stopped.exit_status == EXIT_STOPPED, stopped.stderr
    assert "Traceback" not in stopped.stdout + stopped.stderr
    assert not (tmp_path / "two" / "crash.pt").exists()
    files = sorted(path.name for path in (tmp_path / "outputs-two").iterdir())
    assert files == ["train.1.teacher", "valid.1.teacher"]
    resumed = commands.run("fairseq-train", *arguments("two"), save_dir=tmp_path / "two").assert_succeeded()
    assert int(resumed.logged("train_inner")[0]["num_updates"]) == UPDATES_AN_EPOCH + 1
    assert_ended_alike(resumed, undisturbed, from_update=1)


def test_without_masks_that_repeat_it_ends_in_one_line(
    commands: ForkedCommands, distillation_options: Options, tmp_path: Path
) -> None:
    arguments = distillation_options(tmp_path, **OBJECTIVE, teacher_cache=tmp_path / "outputs", max_update=1)
    run = commands.run("fairseq-train", *arguments, save_dir=tmp_path)
    run.assert_one_error_line("masks change from epoch to epoch", "--repeat-masks-after")
