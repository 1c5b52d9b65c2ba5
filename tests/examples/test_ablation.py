"""examples/ablation/run.sh: what it refuses, and the whole of it at a tiny size."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "examples" / "ablation" / "run.sh"
STUDENTS = ["full", "without_soft_targets", "without_cosine", "without_masked_lm", "random_start", "no_teacher"]


def run(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", SCRIPT, *map(str, arguments)], cwd=folder, capture_output=True, text=True)


@pytest.fixture
def folder(teacher_path: str, data_with_tokenizer: Path, tmp_path: Path) -> Path:
    shutil.copy(teacher_path, tmp_path / "teacher.pt")
    shutil.copytree(data_with_tokenizer, tmp_path / "data")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --teacher, --data and --output; see --help"),
        (["--teacher"], "--teacher needs a value; see --help"),
        (["--quick"], "unknown option --quick; see --help"),
        (["quick"], "'quick' is neither an option nor an override KEY=VALUE; see --help"),
        (["--teacher", "absent.pt", "--data", "data", "--output", "x"], "--teacher {folder}/absent.pt: no such file"),
        (
            ["--teacher", "teacher.pt", "--data", ".", "--output", "x"],
            "--data {folder}: no prepared data, see scripts/prepare_data.py",
        ),
        (
            ["--teacher", "teacher.pt", "--data", "data", "--output", "x", "--updates", "many"],
            "--updates needs a number, found 'many'",
        ),
        (
            ["--teacher", "teacher.pt", "--data", "data", "--output", "x", "--recipe", "absent.yaml"],
            "--recipe {folder}/absent.yaml: no such file",
        ),
    ],
)
def test_mistakes_are_one_line_before_any_work(folder: Path, arguments: list[str], message: str) -> None:
    result = run(*arguments, folder=folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"error: {message.format(folder=folder)}\n"
    assert {path.name for path in folder.iterdir()} == {"teacher.pt", "data"}


def test_options_of_fine_tuning_alone(folder: Path) -> None:
    result = run("--teacher", "teacher.pt", "--data", "data", "--output", "out", "--seeds", "2", folder=folder)
    assert result.stderr == "error: --seeds is for fine-tuning; give --glue, --squad or --own\n"
    for mistake, message in (
        (("--glue", "absent"), "--glue absent: no such directory"),
        (("--own", "absent"), "--own absent: not NAME=DIR"),
        (("--own", "mine=absent"), "--own mine=absent: no such directory"),
    ):
        assert run(*mistake, folder=folder).stderr == f"error: {message}\n"


def test_students_of_other_settings_are_kept(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "settings").write_text("other settings\n")
    result = run("--teacher", "teacher.pt", "--data", "data", "--output", "out", folder=folder)
    message = f"error: {folder}/out holds students of other settings; remove it or choose another --output\n"
    assert (result.returncode, result.stderr) == (2, message)
    assert (folder / "out" / "settings").read_text() == "other settings\n"


def test_settings_in_the_readme_are_those_of_the_recipe(compose_recipe: Callable) -> None:
    text = SCRIPT.with_name("README.md").read_text(encoding="utf-8")
    settings = re.findall(r"`(\+?[a-z]+\.[a-z_]+=[^`]+)`", text)
    assert {"criterion.mlm_weight=0", "+model.initializer_range=0.05"} <= set(settings)
    cfg = compose_recipe(SCRIPT.parents[1] / "quickstart" / "config" / "student.yaml", *settings)
    assert (cfg.criterion.mlm_weight, cfg.model.initializer_range) == (0, 0.05)


LONG_TRAINING = """#!/bin/sh
case "$1" in
    -c) echo true ;;
    *run_training.py) echo $$ > "$PID.partial"; mv "$PID.partial" "$PID"; exec sleep 100 ;;
esac
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_training_too(folder: Path, number: signal.Signals) -> None:
    """In a copy of the repository where setup.sh does nothing and python is a training that takes long."""
    script = folder / "copy" / "examples" / "ablation" / "run.sh"
    for path, text in (
        (script, SCRIPT.read_text()),
        (folder / "copy" / "scripts" / "setup.sh", ""),
        (folder / "copy" / ".venv" / "bin" / "activate", ""),
        (folder / "recipe.yaml", ""),
        (folder / "bin" / "python", LONG_TRAINING),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "bin" / "python").chmod(0o755)
    training = folder / "pid"
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PID": str(training)}
    options = ["--teacher", "teacher.pt", "--data", "data", "--output", "out", "--recipe", "recipe.yaml"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # Where the tests themselves run in the background or under nohup, these are ignored, which bash would inherit.
    heeding = {
        "preexec_fn": lambda: [signal.signal(ignored, signal.SIG_DFL) for ignored in (signal.SIGINT, signal.SIGHUP)]
    }
    with subprocess.Popen(["bash", script, *options], cwd=folder, env=environment, **pipes, **heeding) as process:
        deadline = time.monotonic() + 60
        while not training.exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (128 + number, "interrupted; the same command goes on from here\n")
    with pytest.raises(ProcessLookupError):
        os.kill(int(training.read_text()), 0)


@pytest.mark.slow
@pytest.mark.timeout(900)  # processes that import fairseq, one after the other, on a busy machine
def test_the_whole_of_it_and_again(folder: Path) -> None:
    options = ["--teacher", "teacher.pt", "--data", "data", "--output", "out", "--updates", "2"]
    options += ["task.tokens_per_sample=17", "dataset.num_workers=0"]
    result = run(*options, folder=folder)
    assert result.returncode == 0, result.stderr[-3000:]
    reports = json.loads((folder / "out" / "masked-lm" / "report.json").read_text())
    assert [report["name"] for report in reports] == ["teacher", *STUDENTS]
    assert len({report["masked_lm"]["perplexity"] for report in reports}) == 7
    with Image.open(folder / "out" / "curves.png") as picture:
        picture.load()

    again = run(*options, folder=folder)
    assert again.returncode == 0, again.stderr[-3000:]
    assert [line for line in again.stdout.splitlines() if line.endswith(": finished before")] == [
        f"{name}: finished before" for name in STUDENTS
    ]
    assert (
        json.loads((folder / "out" / "masked-lm" / "report.json").read_text())[3]["masked_lm"]
        == (reports[3]["masked_lm"])
    )
