"""The script as its users meet it: a process, started from any directory."""

import argparse
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "evaluate.py"


@pytest.fixture
def student_path(setup_run: Callable, tmp_path: Path) -> Path:
    run = setup_run({"_name": "distil_encoder", "encoder_layers": 1, "encoder_embed_dim": 12, "max_positions": 17})
    return Path(run.save_checkpoint(tmp_path / "student.pt"))


def test_tables_and_files(
    run_script: Callable, teacher_path: str, student_path: Path, data_with_tokenizer: Path, tmp_path: Path
) -> None:
    models = ["--model", f"teacher={teacher_path}", "--model", f"student={student_path}"]
    report = tmp_path / "report"
    options = ["--data", data_with_tokenizer, "--output", report, "--batch-size", "5", "--sentence", "word1 <mask>"]
    result = run_script(SCRIPT, *models, *options)
    assert result.returncode == 0, result.stderr
    teacher, student = json.loads((report / "report.json").read_text())
    assert (teacher["name"], teacher["layers"], student["name"], student["layers"]) == ("teacher", 3, "student", 1)
    assert teacher["masked_lm"]["reference_agreement"] == 1
    assert list(teacher["fillings"]) == ["word1 <mask>"]
    assert result.stdout == (report / "report.md").read_text()
    bars = [line for line in result.stderr.splitlines() if line]
    assert bars and all(line.startswith("masked LM on valid: ") for line in bars), result.stderr


def test_mistakes_are_one_line_and_status_2(
    run_script: Callable, teacher_path: str, data_with_tokenizer: Path, tmp_path: Path
) -> None:
    result = run_script(SCRIPT, "--model", f"teacher={tmp_path}/absent.pt", "--data", data_with_tokenizer)
    assert (result.returncode, result.stdout) == (2, "")
    expected = f"error: --model teacher={tmp_path}/absent.pt: no such file; give --model NAME=PATH a checkpoint"
    assert result.stderr.startswith(expected)
    assert result.stderr.count("\n") == 1

    same_names = ["--model", f"one={teacher_path}", "--model", f"one={teacher_path}"]
    result = run_script(SCRIPT, *same_names, "--data", data_with_tokenizer)
    assert (result.returncode, result.stderr) == (2, "error: --model and --distil names must differ, found one, one\n")


def test_a_model_has_a_name_and_a_checkpoint() -> None:
    named_path = runpy.run_path(str(SCRIPT))["named_path"]
    assert named_path("teacher=runs/lr=1/teacher.pt") == ("teacher", Path("runs/lr=1/teacher.pt"))
    for wrong in ("teacher.pt", "=teacher.pt", "teacher="):
        with pytest.raises(argparse.ArgumentTypeError, match=f"'{wrong}' is not NAME=PATH"):
            named_path(wrong)


@pytest.fixture
def make_teacher(setup_run: Callable, tmp_path: Path) -> Callable[[Path], str]:
    """Saves an encoder whose checkpoint names the data that it was trained on."""
    sizes = {"encoder_layers": 2, "encoder_embed_dim": 12, "encoder_attention_heads": 4, "max_positions": 17}
    model = {"_name": "distil_encoder", **sizes}
    return lambda data: setup_run(model, data=str(data)).save_checkpoint(tmp_path / "teacher.pt")


def test_fine_tuning_and_again(
    run_script: Callable,
    make_teacher: Callable,
    student_path: Path,
    data_with_tokenizer: Path,
    glue: Path,
    tmp_path: Path,
) -> None:
    """Two runs of two updates, on the teacher's own data; the same command then only writes the report."""
    report = tmp_path / "report"
    models = ["--model", f"teacher={make_teacher(data_with_tokenizer)}", "--model", f"student={student_path}"]
    changes = ["--override", "optimization.max_update=2", "--override", "dataset.num_workers=0"]
    options = [*models, "--glue", glue, "--seeds", "1", "--output", report, *changes]
    result = run_script(SCRIPT, *options, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    written = json.loads((report / "report.json").read_text())
    assert written["teacher"] == "teacher" and [model["name"] for model in written["models"]] == ["teacher", "student"]
    scores = [model["tasks"]["RTE"]["median"] for model in written["models"]]
    right = [score * 17 / 100 for score in scores]  # of the 17 rows to validate on
    assert right == pytest.approx([round(rows) for rows in right], abs=0.001)
    assert written["models"][1]["percent_kept"] == pytest.approx(100 * scores[1] / scores[0])
    assert (report / "report.md").read_text() == result.stdout
    assert "student, RTE, seed 1: accuracy " in result.stderr
    assert not list(report.rglob("*.pt"))

    again = run_script(SCRIPT, *options)
    assert again.returncode == 0, again.stderr
    assert "RTE, seed 1" not in again.stderr
    assert json.loads((report / "report.json").read_text())["models"][1]["tasks"] == written["models"][1]["tasks"]


def test_the_data_of_the_teacher_are_gone(
    run_script: Callable, make_teacher: Callable, data_with_tokenizer: Path, glue: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(data_with_tokenizer, tmp_path / "copy"))
    teacher = make_teacher(data)
    shutil.rmtree(data)
    result = run_script(SCRIPT, "--model", f"teacher={teacher}", "--glue", glue, "--output", tmp_path / "report")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(
        f"error: {teacher}: its data is not known; give --data, the directory with dict.txt"
    )


@pytest.mark.slow
@pytest.mark.parametrize("task", ["RTE", "SQuAD"])
def test_killed_in_a_fine_tuning_and_started_again(
    teacher_path: str, data_with_tokenizer: Path, glue: Path, squad: Path, tmp_path: Path, task: str
) -> None:
    """The scores are those of a grid that nobody disturbed."""
    changes = ["optimization.max_update=60", "dataset.batch_size=4", "dataset.num_workers=0", "optimization.lr=[3e-3]"]

    def start(report: Path) -> subprocess.Popen:
        options = ["--model", f"teacher={teacher_path}", "--data", data_with_tokenizer, "--seeds", "1"]
        options += ["--glue", glue, "--squad", squad, "--tasks", task]
        command = [
            sys.executable,
            SCRIPT,
            *options,
            "--output",
            report,
            *(f"--override={change}" for change in changes),
        ]
        return subprocess.Popen(command, cwd=tmp_path, start_new_session=True, stderr=subprocess.DEVNULL)

    def result(report: Path) -> dict:
        return json.loads((report / "report.json").read_text())["models"][0]["tasks"]

    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert start(undisturbed).wait() == 0
    doomed = start(killed)
    log = killed / "runs" / "teacher" / task / "seed1" / "log"
    while not log.exists() or log.read_text().count("valid_num_updates") < 3:
        assert doomed.poll() is None
        time.sleep(0.02)
    os.killpg(doomed.pid, signal.SIGKILL)
    assert doomed.wait() == -signal.SIGKILL
    assert not (killed / "report.json").exists()
    assert start(killed).wait() == 0
    assert "Loaded checkpoint" in log.read_text()
    assert result(killed) == result(undisturbed)


def test_fine_tuning_on_data_of_ones_own_and_again(
    run_script: Callable, teacher_path: str, data_with_tokenizer: Path, sentence_data: Callable, tmp_path: Path
) -> None:
    """Classes and numbers, 2 updates each of batches of 50 rows of 64; an epoch is enough."""
    report = tmp_path / "report"
    own = ["--own", f"reviews={sentence_data('bad', 'good')['data']}", "--own", f"ratings={sentence_data()['data']}"]
    changes = [f"--override={change}" for change in ("optimization.max_epoch=1", "dataset.batch_size=50")]
    options = ["--model", f"teacher={teacher_path}", *own, "--data", data_with_tokenizer, "--seeds", "1", *changes]
    result = run_script(SCRIPT, *options, "--output", report, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    written = json.loads((report / "report.json").read_text())
    tasks = written["models"][0]["tasks"]
    assert [tasks[name]["metric"] for name in ("reviews", "ratings")] == ["accuracy", "pearson_and_spearman"]
    right = tasks["reviews"]["median"] * 23 / 100  # of the 23 rows to validate on
    assert right == pytest.approx(round(right), abs=0.001)
    assert tasks["ratings"]["runs"][0].keys() == {"pearson_and_spearman", "pearson", "spearman"}
    assert "the paper" not in result.stdout and written["paper"] == {}
    assert result.stdout.startswith("Fine-tuned by examples/glue/config/own.yaml, changed by: common.cpu=true")
    assert '"train_num_updates": "2"' in (report / "runs" / "teacher" / "reviews" / "seed1" / "log").read_text()

    again = run_script(SCRIPT, *options, "--output", report, folder=tmp_path)
    assert again.returncode == 0 and "seed 1" not in again.stderr, again.stderr
    assert json.loads((report / "report.json").read_text())["models"][0]["tasks"] == tasks


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --data, to compare masked-LM quality, or --glue, --squad or --own, to fine-tune"),
        (["--glue", "."], "fine-tuning needs --output, a directory for its runs and the report"),
        (["--glue", ".", "--output", "x", "--seeds", "0"], "--seeds is 0, but must be at least 1"),
        (["--own", "mine=absent", "--output", "x"], "--own mine=absent: not a directory that scripts/prepare_glue.py"),
        (["--glue", "absent", "--output", "x"], "absent: no task of GLUE, which would be a directory such as RTE"),
        (["--distil", "two=two.pt", "--data", "x"], "--distil is for fine-tuning; give --glue, --squad or --own"),
        (
            ["--distil", "teacher=two.pt", "--glue", ".", "--output", "x"],
            "--model and --distil names must differ, found teacher, teacher",
        ),
        (
            ["--distil", "two=absent.pt", "--glue", ".", "--output", "x"],
            "--distil two=absent.pt: no such file; give --distil NAME=PATH a checkpoint",
        ),
    ],
)
def test_options_of_fine_tuning(
    run_script: Callable, teacher_path: str, tmp_path: Path, options: list[str], message: str
) -> None:
    result = run_script(SCRIPT, "--model", f"teacher={teacher_path}", *options, folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {message}") and result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_there_is_no_distillation_without_a_teacher(run_script: Callable, student_path: Path) -> None:
    result = run_script(SCRIPT, "--distil", f"student={student_path}", "--glue", ".", "--output", "x")
    assert result.returncode == 2 and "the following arguments are required: --model" in result.stderr
