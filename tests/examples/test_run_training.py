"""What the quickstart shows of a training."""

import io
import json
import os
import pty
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "quickstart" / "run_training.py"

run_training = runpy.run_path(str(SCRIPT))
Display, duration, summary = run_training["Display"], run_training["duration"], run_training["summary"]


def record(logger: str, level: str, message: object) -> str:
    text = message if isinstance(message, str) else json.dumps(message)
    return f"[2024-01-02 03:04:05,678][{logger}][{level}] - {text}"


def training(update: int) -> str:
    return record("train_inner", "INFO", {"loss": "7.5", "num_updates": str(update)})


def training_command(*lines: str, then: str = "") -> list[str]:
    """A process that writes lines, those that begin with ``!`` to stderr."""
    program = f"""
import sys, time
for line in {list(lines)!r}:
    print(line.removeprefix("!"), file=sys.stderr if line.startswith("!") else sys.stdout, flush=True)
    time.sleep(0.02)
{then}
"""
    return [sys.executable, "-c", program]


def run_script(log: Path, command: list[str], **keywords: object) -> subprocess.CompletedProcess[str]:
    arguments = ["--name", "teacher", "--updates", "400", "--log", str(log), *command]
    options = {"capture_output": True, "text": True} | keywords
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], **options)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min"), (3569, "59 min"), (3599, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_terminal_shows_one_line_of_less_than_80_columns() -> None:
    stream = Terminal()
    display = Display(1_000_000, stream)
    display.update(800_000, "12.345", now=100.0)
    display.update(800_100, "12.345", now=200.0)
    frames = stream.getvalue().split("\r\033[K")
    assert frames == [
        "",
        "starting",
        "[################....] update 800,000 of 1,000,000, loss 12.345",
        "[################....] update 800,100 of 1,000,000, loss 12.345, 55 h 32 min left",
    ]
    assert len(frames[-1]) < 82
    display.close()
    assert stream.getvalue().endswith("\r\033[K")


def test_the_time_left_of_a_resumed_run_counts_from_where_it_went_on() -> None:
    stream = Terminal()
    display = Display(400, stream)
    display.update(200, "1", now=0.0)
    display.update(300, "1", now=30.0)
    assert stream.getvalue().endswith("update 300 of 400, loss 1, 30 s left")
    display.update(400, "1", now=60.0)
    assert stream.getvalue().endswith("[####################] update 400 of 400, loss 1")


def test_messages_stand_above_the_line() -> None:
    stream = Terminal()
    display = Display(400, stream)
    display.say("a message")
    assert stream.getvalue() == "\r\033[Kstarting\r\033[Ka message\nstarting"


def test_a_file_gets_about_ten_lines() -> None:
    stream = io.StringIO()
    display = Display(400, stream)
    for update in range(10, 401, 10):
        display.update(update, "1", now=float(update))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[0] == "update 10 of 400, loss 1"
    assert lines[1] == "update 40 of 400, loss 1, 6 min left"
    assert lines[-1] == "update 400 of 400, loss 1"


def test_summary_of_either_criterion() -> None:
    assert summary("teacher", {"valid_loss": "5.8", "valid_ppl": "57.8"}) == (
        "teacher: done; on held-out text loss 5.8, masked-LM perplexity 57.8"
    )
    found = {"valid_loss": "9.1", "valid_mlm_ppl": "55.4", "valid_mlm_accuracy": "0.3594"}
    assert summary("student", found).endswith("loss 9.1, masked-LM perplexity 55.4, accuracy 35.9%")
    assert summary("headless", {"valid_loss": "0.2"}) == "headless: done; on held-out text loss 0.2"
    assert summary("student", None) == "student: done"


def test_log_and_screen(tmp_path: Path) -> None:
    noise = "!INFO:fairseq.tasks.text_to_speech:Please install tensorboardX: pip install tensorboardX"
    lines = [
        noise,
        "!DEBUG:hydra.core.utils:Setting JobRuntime:name=UNKNOWN_NAME",
        "!WARNING:some.library:real",
        record("fairseq_cli.train", "INFO", "{not json"),
        record("fairseq_cli.train", "WARNING", "also real"),
        training(10),
        training(40),
        record("valid", "INFO", {"valid_loss": "8.0", "valid_ppl": "300"}),
        training(400),
        record("valid", "INFO", {"valid_loss": "7.0", "valid_ppl": "128"}),
    ]
    log = tmp_path / "log"
    log.write_text("older\n")
    result = run_script(log, training_command(*lines))
    assert result.returncode == 0
    assert result.stdout == "teacher: done; on held-out text loss 7.0, masked-LM perplexity 128\n"
    shown = [line.split(", loss")[0] for line in result.stderr.splitlines()]
    shown.remove("WARNING:some.library:real")  # it comes by another way, sooner or later
    assert shown == [
        record("fairseq_cli.train", "WARNING", "also real"),
        "update 10 of 400",
        "update 40 of 400",
        "update 400 of 400",
    ]
    logged = log.read_text().splitlines()
    assert logged[0] == "older"
    assert sorted(logged[1:]) == sorted(line.removeprefix("!") for line in lines)


def test_an_error_and_its_status_stay(tmp_path: Path) -> None:
    result = run_script(tmp_path / "log", training_command("!error: no such teacher", then="sys.exit(3)"))
    assert (result.returncode, result.stdout, result.stderr) == (3, "", "error: no such teacher\n")


def test_a_killed_training_is_no_success(tmp_path: Path) -> None:
    result = run_script(tmp_path / "log", training_command(then="import os; os.kill(os.getpid(), 9)"))
    assert (result.returncode, result.stdout) == (137, "")


def test_on_a_terminal(tmp_path: Path) -> None:
    screen, terminal = pty.openpty()
    streams = {"stderr": terminal, "stdout": subprocess.PIPE, "capture_output": False}
    result = run_script(tmp_path / "log", training_command(training(10)), **streams)
    os.close(terminal)
    written = os.read(screen, 10_000).decode()
    os.close(screen)
    assert result.returncode == 0
    assert written == "\r\033[Kstarting\r\033[K[....................] update 10 of 400, loss 7.5\r\033[K"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_training_ends_with_the_script(tmp_path: Path, number: signal.Signals, status: int) -> None:
    log = tmp_path / "log"
    command = training_command(training(10), then="print(__import__('os').getpid(), flush=True); time.sleep(100)")
    arguments = ["--name", "teacher", "--updates", "400", "--log", str(log), *command]
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text().endswith("\n") and log.read_text().count("\n") == 2):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    training_process = int(log.read_text().splitlines()[-1])
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert b"Traceback" not in errors
    with pytest.raises(ProcessLookupError):
        os.kill(training_process, 0)
