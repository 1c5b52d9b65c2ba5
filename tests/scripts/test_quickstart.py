"""scripts/quickstart.sh: what it refuses, in which order it works, and the whole of it on a small text."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from ..interrupted_scripts import assert_ended_by

SCRIPT = Path(__file__).parents[2] / "scripts" / "quickstart.sh"
NAMES = ["teacher", "student", "no_teacher"]


def run_quickstart(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", str(SCRIPT), *map(str, arguments)], cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quick"], "unknown option --quick; see --help"),
        (["--fast", "-x"], "unknown option -x; see --help"),
        (["absent.txt"], "absent.txt: no such file, or it cannot be read"),
        (["text.txt", "absent.txt"], "absent.txt: no such file, or it cannot be read"),
        (["."], ".: no such file, or it cannot be read"),
        (["--seed", "one"], "--seed needs a number, found 'one'"),
        (["--seed", "-1"], "--seed needs a number, found '-1'"),
        (["--seed"], "--seed needs a number, found ''"),
        (["--output"], "--output needs a directory"),
    ],
)
def test_mistakes_are_one_line_before_any_work(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "text.txt").write_text("Some text.\n")
    result = run_quickstart("--output", "results", *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"error: {message}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_names_every_option(tmp_path: Path, option: str) -> None:
    result = run_quickstart(option, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("Trains a small BERT on real text")
    for name in ("TEXT", "--fast", "--seed", "--output"):
        assert name in result.stdout
    assert "set -" not in result.stdout and "#" not in result.stdout


FAKE_PYTHON = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$1" in
    *prepare_data.py) mkdir "$OUTPUT/data" ;;
    *plan_training.py) echo "$PLAN" ;;
    *run_training.py)
        [ "$3" != "$FAILS" ] || exit 1
        [ "$3" != "$WAITS" ] || { echo $$ > "$PID"; exec sleep 100; }
        mkdir -p "$OUTPUT/$3"
        ;;
esac
"""


def heed_signals() -> None:
    """Where the tests themselves run in the background or under nohup, these are ignored, which bash would inherit."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Rehearsal:
    """The script in a copy of the repository where setup.sh does nothing and python takes notes."""

    def __init__(self, folder: Path) -> None:
        self.output = folder / "results"
        self.calls = folder / "calls"
        self.pid = folder / "pid"
        self._folder = folder
        self._script = folder / "copy" / "scripts" / "quickstart.sh"
        (folder / "copy" / ".venv" / "bin").mkdir(parents=True)
        (folder / "copy" / ".venv" / "bin" / "activate").touch()
        (folder / "copy" / "examples" / "quickstart").mkdir(parents=True)
        (folder / "copy" / "examples" / "quickstart" / "sentences.txt").write_text("A <mask>.\n")
        self._script.parent.mkdir()
        shutil.copy(SCRIPT, self._script)
        (self._script.parent / "setup.sh").touch()
        shutil.copy(SCRIPT.with_name("interruptible.sh"), self._script.parent)
        (folder / "bin").mkdir()
        (folder / "bin" / "python").write_text(FAKE_PYTHON)
        (folder / "bin" / "python").chmod(0o755)

    def start(
        self, *arguments: str | Path, plan: str = "none 2000 60 3", fails: str = "", waits: str = ""
    ) -> subprocess.Popen[str]:
        """Start it; the training ``waits`` would take long, and its process is told in ``pid``."""
        environment = {"CALLS": self.calls, "OUTPUT": self.output, "PLAN": plan, "FAILS": fails}
        environment |= {"WAITS": waits, "PID": self.pid, "PATH": f"{self._folder / 'bin'}:{os.environ['PATH']}"}
        self.calls.write_text("")
        command = ["bash", self._script, "--output", self.output, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=environment, cwd=self._folder, preexec_fn=heed_signals, **pipes)

    def run(self, *arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments, **settings) as process:
            stdout, stderr = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def worked(self) -> list[str]:
        """What was called: the scripts, and the names of the trainings."""
        calls = [call.split() for call in self.calls.read_text().splitlines()]
        return [call[2] if "run_training" in call[0] else Path(call[0]).stem for call in calls]

    def overrides(self, name: str) -> list[str]:
        """Settings of a training."""
        (call,) = [call for call in self.calls.read_text().splitlines() if f"--name {name} " in call]
        return [word for word in call.split() if "." in word and "=" in word]


@pytest.fixture
def rehearsal(tmp_path: Path) -> Rehearsal:
    (tmp_path / "text.txt").write_text("Some text.\n")
    return Rehearsal(tmp_path)


def test_steps_in_order_and_what_is_finished_is_not_done_again(rehearsal: Rehearsal) -> None:
    result = rehearsal.run("text.txt", fails="student")
    log = rehearsal.output / "student.log"
    assert (result.returncode, result.stderr) == (2, f"error: training stopped; see {log}\n")
    assert rehearsal.worked() == ["prepare_data", "plan_training", "teacher", "student"]

    result = rehearsal.run("text.txt", plan="bfloat16 9 9 9")
    assert (result.returncode, result.stderr) == (0, "")
    assert "teacher: finished before\n" in result.stdout
    assert rehearsal.worked() == ["student", "no_teacher", "evaluate", "plot_training"]
    assert "optimization.max_update=60" in rehearsal.overrides("student")  # planned by the first call

    assert rehearsal.run("text.txt").returncode == 0
    assert rehearsal.worked() == ["evaluate", "plot_training"]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_script_ends_the_training_too(rehearsal: Rehearsal, number: signal.Signals) -> None:
    with rehearsal.start("text.txt", waits="teacher") as process:
        assert_ended_by(number, process, rehearsal.pid)
    assert rehearsal.run("text.txt").returncode == 0
    assert rehearsal.worked() == ["teacher", "student", "no_teacher", "evaluate", "plot_training"]


def test_the_plan_reaches_the_trainings(rehearsal: Rehearsal) -> None:
    result = rehearsal.run("--fast", "--seed", "3", plan="bfloat16 450 75 2")
    assert rehearsal.worked()[0] == "collect_documentation"
    assert "about 2 more minutes on this machine\n" in result.stdout
    assert "450 of the teacher (at most 900), 75 of each student (at most 150)\n" in result.stdout
    assert {
        *("task.autocast_dtype=bfloat16", "common.seed=3", "optimization.max_update=450"),
        *("lr_scheduler.warmup_updates=100", "dataset.validate_interval_updates=150"),
    } <= set(rehearsal.overrides("teacher"))
    assert {
        *("optimization.max_update=75", "lr_scheduler.warmup_updates=18", "dataset.validate_interval_updates=50"),
        f"model.teacher={rehearsal.output}/teacher/checkpoint_best.pt",
    } <= set(rehearsal.overrides("student"))


def test_a_slow_machine_is_told(rehearsal: Rehearsal) -> None:
    result = rehearsal.run(plan="none 175 30 20")
    assert result.stderr == "warning: this machine is slow, or busy with other work: so few updates teach little\n"


@pytest.mark.parametrize("changed", ["seed", "fast", "text", "content", "time", "documentation"])
def test_results_of_other_settings_are_neither_used_nor_replaced(
    rehearsal: Rehearsal, tmp_path: Path, changed: str
) -> None:
    text = tmp_path / "text.txt"
    os.utime(text, (1_700_000_000, 1_700_000_000))
    first = ["text.txt", "--seed", "3"]
    assert rehearsal.run(*first).returncode == 0
    assert [path.name for path in rehearsal.output.glob("settings*")] == ["settings"]
    assert rehearsal.run(tmp_path / "copy" / ".." / "text.txt", "--seed", "3").returncode == 0  # by another name

    (tmp_path / "other.txt").write_text("Some text.\n")
    if changed == "content":
        text.write_text("Some more text.\n")
    os.utime(text, (1_700_000_000, 1_700_000_000 + (changed == "time")))
    other = {
        "seed": ["text.txt", "--seed", "4"],
        "fast": [*first, "--fast"],
        "text": ["other.txt", "--seed", "3"],
        "documentation": ["--seed", "3"],
    }
    result = rehearsal.run(*other.get(changed, first))
    held = f"{text} (11 bytes of 2023-11-14 22:13:20.000000000), seed 3"
    message = f"error: {rehearsal.output} holds a run of {held}; remove it or choose another --output\n"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", message)
    assert rehearsal.worked() == []


def test_results_without_settings_are_not_used(rehearsal: Rehearsal) -> None:
    (rehearsal.output / "data").mkdir(parents=True)
    result = rehearsal.run("text.txt")
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {rehearsal.output} holds a run of settings that are not known; remove")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Enough words of enough syllables for a vocabulary of 4,000, in documents, unevenly frequent as real ones."""
    generator = random.Random(7)
    syllables = [first + second for first in "bdfgklmnprstvz" for second in ("a", "e", "i", "o", "u", "an", "er")]
    words = ["".join(generator.choices(syllables, k=generator.randint(1, 5))) for _ in range(12000)]
    frequencies = [1 / rank for rank in range(1, len(words) + 1)]
    path = tmp_path / "text.txt"
    with open(path, "w") as file:
        for line in range(6000):
            sentence = " ".join(generator.choices(words, frequencies, k=generator.randint(8, 20)))
            file.write(sentence.capitalize() + ".\n" + ("\n" if line % 5 == 0 else ""))
    return path


def digests(output: Path) -> dict[str, str]:
    """Of the checkpoints that are compared, and of those that a run would go on from."""
    paths = [output / name / f"checkpoint_{which}.pt" for name in NAMES for which in ("best", "last")]
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_of_it_and_again(text: Path, tmp_path: Path) -> None:
    output = tmp_path / "results"
    result = run_quickstart(text, "--fast", "--seed", "3", "--output", output, cwd=tmp_path)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]

    reports = json.loads((output / "report.json").read_text())
    teacher, student, no_teacher = reports
    assert [report["name"] for report in reports] == NAMES
    assert [report["layers"] for report in reports] == [4, 2, 2]
    assert student["parameters"] == no_teacher["parameters"] < teacher["parameters"]
    assert teacher["masked_lm"]["reference_agreement"] == 1
    assert all(1 < report["masked_lm"]["perplexity"] < 4000 for report in reports)
    sentences = (SCRIPT.parents[1] / "examples" / "quickstart" / "sentences.txt").read_text().splitlines()
    # In a language that is not English, the sentences come apart into many symbols.
    filled_in = [sentence for sentence in sentences if f"positions: {sentence}\n" not in result.stderr]
    assert filled_in
    assert all(list(report["fillings"]) == filled_in for report in reports)
    assert (output / "report.md").read_text() in result.stdout
    with Image.open(output / "curves.png") as curves:
        curves.load()
        assert curves.size == (5 * 550, 440)
    first = digests(output)
    assert len(first) == 6

    again = run_quickstart(text, "--fast", "--seed", "3", "--output", output, cwd=tmp_path)
    assert again.returncode == 0, again.stdout[-3000:] + again.stderr[-3000:]
    assert digests(output) == first
    measured_again = json.loads((output / "report.json").read_text())
    assert [report["masked_lm"] for report in measured_again] == [report["masked_lm"] for report in reports]
    assert [report["fillings"] for report in measured_again] == [report["fillings"] for report in reports]
