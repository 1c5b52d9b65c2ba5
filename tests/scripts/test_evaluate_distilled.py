"""Models that learn from the fine-tuned teacher, in a grid of classes, numbers and answers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SCRIPT = Path(__file__).parents[2] / "scripts" / "evaluate.py"


@pytest.fixture
def models(teacher_path: str, setup_run: Callable, tmp_path: Path) -> list[str]:
    """A teacher of 3 layers, and a narrower student of 1."""
    sizes = {"encoder_layers": 1, "encoder_embed_dim": 8, "encoder_attention_heads": 2, "max_positions": 17}
    student = setup_run({"_name": "distil_encoder", **sizes}).save_checkpoint(tmp_path / "student.pt")
    return ["--model", f"teacher={teacher_path}", "--distil", f"student_D={student}"]


def scalars_of(report: Path, *run: str) -> list[str]:
    events = EventAccumulator(str(report.joinpath("runs", *run, "seed1", "tensorboard", "train_inner")))
    return events.Reload().Tags()["scalars"]


def read_report(report: Path) -> dict[str, Any]:
    return json.loads((report / "report.json").read_text())


def read_settings(report: Path, model: str) -> dict[str, Any]:
    return json.loads((report / "runs" / model / "SQuAD" / "seed1" / "settings.json").read_text())


def test_classes_numbers_and_answers(
    run_script: Callable,
    models: list[str],
    sentence_data: Callable,
    squad: Path,
    data_with_tokenizer: Path,
    tmp_path: Path,
) -> None:
    report = tmp_path / "report"
    own = ["--own", f"reviews={sentence_data('bad', 'good')['data']}", "--own", f"ratings={sentence_data()['data']}"]
    changes = ("optimization.max_update=2", "dataset.batch_size=9", "dataset.num_workers=0", "common.log_interval=1")
    changes += ("criterion.teacher_weight=3", "SQuAD:criterion.soft_target_temperature=4")
    options = [*models, *own, "--squad", squad, "--data", data_with_tokenizer, "--seeds", "1", "--output", report]
    options += [f"--override={change}" for change in changes]
    result = run_script(SCRIPT, *options, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert not list(report.rglob("*.pt"))

    written = read_report(report)
    assert written["samples"]["SQuAD"] == {"length": 17, "stride": 5, "question_length": 5}
    assert [len(runs) for runs in written["runs_by_version"].values()] == [6]
    assert written["machine"]["torch"] in result.stdout
    teacher, student = written["models"]
    assert (teacher["name"], teacher["distilled"]) == ("teacher", False)
    assert (student["name"], student["distilled"]) == ("student_D", True)
    assert student["percent_kept"] == pytest.approx(100 * student["average"] / teacher["average"])
    assert {name: task["metric"] for name, task in student["tasks"].items()} == {
        "SQuAD": "f1",
        "reviews": "accuracy",
        "ratings": "pearson_and_spearman",
    }
    for task in ("SQuAD", "reviews", "ratings"):
        assert "soft_target_loss" in scalars_of(report, "student_D", task), task
        assert "soft_target_loss" not in scalars_of(report, "teacher", task), task
    held, of_teacher = (read_settings(report, name) for name in ("student_D", "teacher"))
    assert held["overrides"][-2:] == ["++criterion.teacher_weight=3", "++criterion.soft_target_temperature=4"]
    assert held["teacher"] | {"version": held["version"]} == of_teacher

    text = (report / "report.md").read_text()
    assert text == result.stdout
    assert "student_D: fine-tuned with the labels and the outputs of teacher that was fine-tuned on the same" in text
    assert "| SQuAD, f1: DistilBERT (D) |" in text and "| 98.2 " in text

    again = run_script(SCRIPT, *options, folder=tmp_path)
    assert again.returncode == 0 and "seed 1" not in again.stderr, again.stderr
    assert read_report(report)["models"][1]["tasks"] == student["tasks"]


@pytest.mark.slow
def test_killed_in_a_distillation_and_started_again(
    models: list[str], glue: Path, data_with_tokenizer: Path, tmp_path: Path
) -> None:
    """The scores are those of a grid that nobody disturbed, and the teacher is fine-tuned once."""
    changes = ["optimization.max_update=60", "dataset.batch_size=4", "dataset.num_workers=0", "optimization.lr=[3e-3]"]

    def start(report: Path) -> subprocess.Popen:
        options = [*models, "--glue", glue, "--data", data_with_tokenizer, "--seeds", "1", "--output", report]
        command = [sys.executable, SCRIPT, *options, *(f"--override={change}" for change in changes)]
        return subprocess.Popen(command, cwd=tmp_path, start_new_session=True, stderr=subprocess.DEVNULL)

    def tasks(report: Path) -> list[dict]:
        return [model["tasks"] for model in read_report(report)["models"]]

    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert start(undisturbed).wait() == 0
    doomed = start(killed)
    log = killed / "runs" / "student_D" / "RTE" / "seed1" / "log"
    while not log.exists() or '"valid_num_updates": "30"' not in log.read_text():
        assert doomed.poll() is None
        time.sleep(0.02)
    os.killpg(doomed.pid, signal.SIGKILL)
    assert doomed.wait() == -signal.SIGKILL
    teacher = killed / "runs" / "teacher" / "RTE" / "seed1"
    assert (teacher / "checkpoints" / "checkpoint_best.pt").exists()
    before = (teacher / "log").read_bytes()
    assert start(killed).wait() == 0
    assert "Loaded checkpoint" in log.read_text() and (teacher / "log").read_bytes() == before
    assert tasks(killed) == tasks(undisturbed)
    assert not list(killed.rglob("*.pt"))
