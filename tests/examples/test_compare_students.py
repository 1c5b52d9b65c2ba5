"""examples/compare_students.sh: what it refuses, and the whole of it at a tiny size."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from PIL import Image

from ..interrupted_scripts import assert_ended_by

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = EXAMPLES / "compare_students.sh"
SIGNALS = EXAMPLES.parent / "scripts" / "interruptible.sh"


def students(path: Path) -> dict[str, list[str]]:
    """Settings by name."""
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return {name: settings for name, *settings in lines}


def run(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", SCRIPT, *map(str, arguments)], cwd=folder, capture_output=True, text=True)


@pytest.fixture
def folder(teacher_path: str, data_with_tokenizer: Path, tmp_path: Path) -> Path:
    shutil.copy(teacher_path, tmp_path / "teacher.pt")
    shutil.copytree(data_with_tokenizer, tmp_path / "data")
    return tmp_path


TWO = "one\n\n# another\ntwo  criterion.cosine_weight=0 model.student_init=random\n"
OPTIONS = ["--students", "list", "--teacher", "teacher.pt", "--data", "data", "--output", "out"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --students, --teacher, --data and --output; see --help"),
        (["--teacher"], "--teacher needs a value; see --help"),
        (["--quick"], "unknown option --quick; see --help"),
        (["quick"], "'quick' is neither an option nor an override KEY=VALUE; see --help"),
        ([*OPTIONS, "--students", "absent"], "--students {folder}/absent: no such file"),
        (
            [*OPTIONS, "--teacher", "absent.pt"],
            "--teacher {folder}/absent.pt: no such file; give a checkpoint, or a directory of transformers with its "
            "config.json",
        ),
        ([*OPTIONS, "--data", "."], "--data {folder}: no prepared data, see scripts/prepare_data.py"),
        ([*OPTIONS, "--updates", "many"], "--updates needs a whole number, at least 1, found 'many'"),
        ([*OPTIONS, "--seeds", "0"], "--seeds needs a whole number, at least 1, found '0'"),
        ([*OPTIONS, "--updates", "2", "--minutes", "1"], "give --updates or --minutes, not both"),
        ([*OPTIONS, "--recipe", "absent.yaml"], "--recipe {folder}/absent.yaml: no such file"),
        ([*OPTIONS, "--jobs", "2"], "--jobs is for fine-tuning; give --glue, --squad or --own"),
        ([*OPTIONS, "--distil"], "--distil is for fine-tuning; give --glue, --squad or --own"),
        (["--glue", "absent"], "--glue absent: no such directory"),
        (["--own", "absent"], "--own absent: not NAME=DIR"),
        (["--own", "mine=absent"], "--own mine=absent: no such directory"),
    ],
)
def test_mistakes_are_one_line_before_any_work(folder: Path, arguments: list[str], message: str) -> None:
    (folder / "list").write_text(TWO)
    result = run(*arguments, folder=folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"error: {message.format(folder=folder)}\n"
    assert {path.name for path in folder.iterdir()} == {"teacher.pt", "data", "list"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# nobody\n", "no student in it"),
        ("full\n../other x=1\n", "'../other' is no name of letters, digits, - and _"),
        ("full model.student_init\n", "full: 'model.student_init' is no setting KEY=VALUE"),
        ("full\nfull x=1\n", "the name full is there twice, or the teacher's"),
        ("teacher\n", "the name teacher is there twice, or the teacher's"),
    ],
)
def test_mistakes_in_the_list(folder: Path, text: str, message: str) -> None:
    (folder / "list").write_text(text)
    result = run(*OPTIONS, folder=folder)
    assert (result.returncode, result.stderr) == (2, f"error: --students {folder}/list: {message}\n")


def test_names_of_students_that_learn_from_the_teacher_once_more(folder: Path, glue: Path) -> None:
    (folder / "list").write_text("full\nfull_D x=1\n")
    result = run(*OPTIONS, "--glue", glue, "--distil", folder=folder)
    message = f"error: --students {folder}/list: the name full_D is there twice, or the teacher's\n"
    assert (result.returncode, result.stderr) == (2, message)


def test_students_of_other_settings_are_kept(folder: Path) -> None:
    (folder / "list").write_text(TWO)
    (folder / "out" / "two").mkdir(parents=True)
    (folder / "out" / "two" / "settings").write_text("criterion.cosine_weight=1\n")
    result = run(*OPTIONS, folder=folder)
    message = "was trained with 'criterion.cosine_weight=1', not 'criterion.cosine_weight=0 model.student_init=random'"
    expected = f"error: {folder}/out/two {message}; remove it or choose another --output\n"
    assert (result.returncode, result.stderr) == (2, expected)
    (folder / "out" / "settings").write_text("other settings\n")
    result = run(*OPTIONS, folder=folder)
    message = f"error: {folder}/out holds students of other settings; remove it or choose another --output\n"
    assert (result.returncode, result.stderr) == (2, message)
    assert (folder / "out" / "settings").read_text() == "other settings\n"


@pytest.mark.parametrize(
    ("path", "recipe"),
    [
        ("ablation/students", "quickstart/config/student.yaml"),
        ("objectives/students", "quickstart/config/student.yaml"),
        ("objectives/students", "distilbert/config/distilbert.yaml"),
        ("objectives/students_minilm", "minilm/config/minilm.yaml"),
    ],
)
def test_settings_of_the_lists_are_those_of_recipes(compose_recipe: Callable, path: str, recipe: str) -> None:
    recipe, listed = EXAMPLES / recipe, students(EXAMPLES / path)
    assert len(listed) >= 3
    for settings in listed.values():
        cfg = compose_recipe(recipe, *settings)
        for key, value in (setting.lstrip("+").split("=", 1) for setting in settings):
            given = value.replace("${optimization.max_update}", str(cfg.optimization.max_update))
            assert OmegaConf.select(cfg, key) == yaml.safe_load(given)


def test_settings_in_the_readme_are_those_of_the_recipe(compose_recipe: Callable) -> None:
    text = (EXAMPLES / "ablation" / "README.md").read_text(encoding="utf-8")
    settings = re.findall(r"`(\+?[a-z]+\.[a-z_]+=[^`]+)`", text)
    assert {"criterion.mlm_weight=0", "+model.initializer_range=0.05"} <= set(settings)
    cfg = compose_recipe(EXAMPLES / "quickstart" / "config" / "student.yaml", *settings)
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
    script = folder / "copy" / "examples" / SCRIPT.name
    for path, text in (
        (script, SCRIPT.read_text()),
        (folder / "copy" / "scripts" / "setup.sh", ""),
        (folder / "copy" / "scripts" / "interruptible.sh", SIGNALS.read_text()),
        (folder / "copy" / ".venv" / "bin" / "activate", ""),
        (folder / "recipe.yaml", ""),
        (folder / "list", TWO),
        (folder / "bin" / "python", LONG_TRAINING),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "bin" / "python").chmod(0o755)
    training = folder / "pid"
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PID": str(training)}
    options = [*OPTIONS, "--recipe", "recipe.yaml"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # Where the tests themselves run in the background or under nohup, these are ignored, which bash would inherit.
    heeding = {
        "preexec_fn": lambda: [signal.signal(ignored, signal.SIG_DFL) for ignored in (signal.SIGINT, signal.SIGHUP)]
    }
    with subprocess.Popen(["bash", script, *options], cwd=folder, env=environment, **pipes, **heeding) as process:
        assert_ended_by(number, process, training)


@pytest.mark.slow
@pytest.mark.timeout(900)  # processes that import fairseq, one after the other, on a busy machine
def test_the_whole_of_it_and_again(folder: Path, glue: Path) -> None:
    (folder / "list").write_text(TWO)
    options = [*OPTIONS, "--updates", "2", "--seeds", "2", "task.tokens_per_sample=17", "dataset.num_workers=0"]
    options += ["--glue", glue, "--distil", "--override", "optimization.max_update=2"]
    options += ["--override", "dataset.num_workers=0"]
    result = run(*options, folder=folder)
    assert result.returncode == 0, result.stderr[-3000:]
    reports = json.loads((folder / "out" / "masked-lm" / "report.json").read_text())
    assert [report["name"] for report in reports] == ["teacher", "one-1", "two-1", "one-2", "two-2"]
    assert len({report["masked_lm"]["perplexity"] for report in reports}) == 5
    retention = json.loads((folder / "out" / "retention" / "report.json").read_text())
    assert [model["name"] for model in retention["models"]] == ["teacher", "one", "two", "one_D", "two_D"]
    checkpoints = [
        json.loads((folder / f"out/retention/runs/two/RTE/seed{seed}/settings.json").read_text())["checkpoint"]
        for seed in (1, 2)
    ]
    assert checkpoints[0] != checkpoints[1]
    with Image.open(folder / "out" / "curves.png") as picture:
        picture.load()

    again = run(*options, folder=folder)
    assert again.returncode == 0, again.stderr[-3000:]
    finished = [line for line in again.stdout.splitlines() if line.endswith(": finished before")]
    assert finished == [f"{name}, seed {seed}: finished before" for seed in (1, 2) for name in ("one", "two")]
    report = json.loads((folder / "out" / "masked-lm" / "report.json").read_text())
    assert report[3]["masked_lm"] == reports[3]["masked_lm"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_minutes_are_made_into_updates(data: str, teacher_path: str) -> None:
    """Of the data's 40 samples, so that one batch of 2 is one of 20 updates."""
    command = [sys.executable, EXAMPLES / "plan_updates.py", "--config-dir", EXAMPLES / "quickstart/config"]
    command += ["--config-name", "student", f"task.data={data}", f"model.teacher={teacher_path}"]
    command += ["task.tokens_per_sample=17", "dataset.num_workers=0", "dataset.batch_size=2"]
    planned = [
        int(subprocess.run([*command, "--minutes", minutes], check=True, capture_output=True, text=True).stdout)
        for minutes in ("100", "1e-9")
    ]
    assert planned[0] > 1000 and planned[1] == 1
    too_few = subprocess.run(
        [*command[:-1], "dataset.batch_size=999", "--minutes", "1"], capture_output=True, text=True
    )
    assert too_few.returncode == 2 and "too few to time" in too_few.stderr
