"""scripts/setup.sh up to the first installation: what it refuses, and when it has nothing to do."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FINGERPRINTED_FILES = ("constraints.txt", "setup.py", "scripts/setup.sh")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the files that setup.sh reads, in a folder with a space in its name."""
    clone = tmp_path.resolve() / "my clone"
    (clone / "scripts").mkdir(parents=True)
    for name in FINGERPRINTED_FILES:
        shutil.copy(REPOSITORY / name, clone / name)
    return clone


@pytest.fixture
def tools_without_compiler(tmp_path: Path) -> str:
    """A PATH of what setup.sh itself needs, and no compiler."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("bash", "cat", "dirname", "grep", "mkdir", "mv", "rm"):
        (folder / name).symlink_to(shutil.which(name))
    return str(folder)


def run_setup(clone: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("CC", "CXX", "PYTHON")}
    command = [shutil.which("bash"), str(clone / "scripts" / "setup.sh")]
    return subprocess.run(command, env=inherited | environment, cwd="/", capture_output=True, text=True, timeout=60)


def assert_refused(result: subprocess.CompletedProcess[str], *expected: str) -> None:
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    for text in expected:
        assert text in result.stderr


def make_finished_environment(clone: Path) -> Path:
    """An empty environment that bears the mark of a finished installation.

    The mark is the SHA-256 of the Python version, the repository's path and the fingerprinted files.
    """
    environment = clone / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    content = f"{platform.python_version()}\n{clone}".encode()
    content += b"".join((clone / name).read_bytes() for name in FINGERPRINTED_FILES)
    (environment / "setup-finished").write_text(hashlib.sha256(content).hexdigest() + "\n")
    return environment


@pytest.mark.parametrize("version", ["3.10.13", "3.13.0"])
def test_unsupported_python_is_refused(clone: Path, tmp_path: Path, version: str) -> None:
    unsupported_python = tmp_path / "python"
    unsupported_python.write_text(f"#!/bin/sh\necho {version} /usr/bin/python\n")
    unsupported_python.chmod(0o755)
    result = run_setup(clone, PYTHON=str(unsupported_python))
    assert_refused(result, f"{unsupported_python} is Python {version}", "3.11 or 3.12", "PYTHON=")
    assert not (clone / ".venv").exists()


def test_python_that_does_not_run_is_refused(clone: Path) -> None:
    assert_refused(run_setup(clone, PYTHON="no-such-python"), "none of these runs: no-such-python", "3.11 or 3.12")


def test_missing_compiler_is_refused_before_any_work(clone: Path, tools_without_compiler: str) -> None:
    result = run_setup(clone, PATH=tools_without_compiler, PYTHON=sys.executable)
    assert_refused(result, "no compiler 'cc'", "build-essential", "CC=")
    assert not (clone / ".venv").exists()


def test_finished_environment_is_left_alone(clone: Path, tools_without_compiler: str) -> None:
    make_finished_environment(clone)
    result = run_setup(clone, PATH=tools_without_compiler)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"setup: {clone}/.venv is up to date (Python {platform.python_version()})\n"


@pytest.mark.parametrize("changed", FINGERPRINTED_FILES)
def test_changed_file_calls_for_installation(clone: Path, tools_without_compiler: str, changed: str) -> None:
    make_finished_environment(clone)
    with open(clone / changed, "a") as file:
        file.write("# changed\n")
    assert_refused(run_setup(clone, PATH=tools_without_compiler), "no compiler 'cc'")


def test_interrupted_installation_is_not_taken_for_finished(clone: Path, tools_without_compiler: str) -> None:
    ended_process = subprocess.Popen(["true"])
    ended_process.wait()
    (make_finished_environment(clone) / "setup-unfinished").write_text(f"{ended_process.pid}\n")
    assert_refused(run_setup(clone, PATH=tools_without_compiler), "no compiler 'cc'")


def test_second_run_beside_an_installing_one_is_refused(clone: Path) -> None:
    (make_finished_environment(clone) / "setup-unfinished").write_text(f"{os.getpid()}\n")
    assert_refused(run_setup(clone), f"process {os.getpid()}", "setup-unfinished")
