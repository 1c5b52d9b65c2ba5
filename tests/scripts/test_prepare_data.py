"""The script as its users meet it: a process, started from any directory, that may be killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "prepare_data.py"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
TIMEOUT = 120  # seconds


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "quick", "brown", "fox"]))
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("the quick brown fox\n\nthe fox\n")
    return path


@pytest.fixture
def run_at_work(vocabulary: Path, tmp_path: Path) -> Iterator[subprocess.Popen]:
    """A run with two workers that has written its first data and has many seconds of work before it."""
    corpus = tmp_path / "long.txt"
    corpus.write_text(("the quick brown fox " * 50 + "\n\n") * 4000)
    process = subprocess.Popen(
        [sys.executable, *command(["--input", *[str(corpus)] * 30, "--workers", "2"], vocabulary, tmp_path / "out")],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Python handles Ctrl-C only where it was not told from outside to ignore it, as background jobs are.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        wait_for_first_data(tmp_path, process)
        yield process
    finally:
        process.kill()
        process.wait()


def command(arguments: list[str], vocabulary: Path, output: Path) -> list[str]:
    tokenizer = ["--tokenizer", "wordpiece", "--vocab", str(vocabulary)]
    return [str(SCRIPT), *arguments, *tokenizer, "--output", str(output)]


def wait_for_first_data(directory: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not any(path.stat().st_size for path in directory.glob(".out.partial-*/train.bin")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_runs_from_any_directory(run_script: Callable, corpus: Path, vocabulary: Path, tmp_path: Path) -> None:
    arguments = ["--input", "corpus.txt", "--workers", "2"]
    result = run_script(*command(arguments, vocabulary, Path("data-bin", "out")), folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "checking the text\n")
    assert result.stdout.startswith("data-bin/out: 9 symbols with <mask> | train 1 documents 1 lines ")
    assert {path.name for path in (tmp_path / "data-bin" / "out").iterdir()} == {
        *("train.bin", "train.idx", "valid.bin", "valid.idx", "dict.txt", "vocab.txt"),
        "fairseq_distil_tokenizer.json",
    }


def test_a_mistake_is_one_line_and_status_2(run_script: Callable, vocabulary: Path, tmp_path: Path) -> None:
    result = run_script(*command(["--input", "gone.txt"], vocabulary, tmp_path / "out"))
    assert result.returncode == 2
    assert result.stderr == "error: gone.txt: not found; give a text file, plain, .gz or .xz\n"


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
def test_a_stopped_run_leaves_nothing(
    number: signal.Signals, status: int, run_at_work: subprocess.Popen, tmp_path: Path
) -> None:
    run_at_work.send_signal(number)
    # The output ends only when the workers, who hold it too, have ended.
    _, errors = run_at_work.communicate(timeout=TIMEOUT)
    assert run_at_work.returncode == status
    assert "Traceback" not in errors
    assert {path.name for path in tmp_path.iterdir()} == {"vocab.txt", "long.txt"}


def test_after_kill_9_nothing_looks_finished_and_a_later_run_succeeds(
    run_script: Callable, run_at_work: subprocess.Popen, corpus: Path, vocabulary: Path, tmp_path: Path
) -> None:
    run_at_work.kill()
    run_at_work.communicate(timeout=TIMEOUT)
    leftover = [path.name for path in tmp_path.iterdir() if "out" in path.name]
    assert len(leftover) == 1 and leftover[0].startswith(".out.partial-")

    arguments = command(["--input", str(corpus)], vocabulary, tmp_path / "out")
    assert run_script(*arguments).returncode == 0
    assert (tmp_path / "out" / "dict.txt").is_file()
    assert list(tmp_path.glob(".out*")) == []
