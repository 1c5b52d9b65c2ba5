"""Packing a bundle with a pip that only pretends, and what the bundle's installer refuses."""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FILES = ("constraints.txt", "setup.py", "scripts/bundle_for_offline.sh", "scripts/install_offline.sh")
PRETENDING_PIP = """#!/usr/bin/env bash
# Writes what pip would have downloaded or built, and notes how it was called.
echo "$*" >>"$PIP_LOG"
while (($#)); do
    case "$1" in
        --no-binary) archive=fairseq_fixed-0.12.3.1.tar.gz ;;
        --only-binary) archive=numpy-2.4.6-cp312-cp312-manylinux_2_28_x86_64.whl ;;
        --wheel-dir) archive="$BUILT_WHEEL" folder="$2" ;;
        --dest) folder="$2" ;;
    esac
    shift
done
mkdir -p "$folder"
echo content >"$folder/$archive"
exit "${PIP_STATUS:-0}"
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with one commit, in a folder with a space in its name, and an environment with that pip."""
    clone = tmp_path / "my clone"
    for name in FILES:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, clone / name)
    git = ["git", "-C", str(clone), "-c", "user.name=Test", "-c", "user.email=test@example.com"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "--no-verify", "--message", "All"], check=True)
    executable(clone / ".venv" / "bin" / "python", PRETENDING_PIP)
    return clone


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def run(script: Path, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("CC", "CXX", "PYTHON", "VENV")}
    defaults = {"PIP_LOG": str(cwd / "pip.log"), "BUILT_WHEEL": "antlr4_python3_runtime-4.9.3-py3-none-any.whl"}
    environment = inherited | defaults | environment
    return subprocess.run(["bash", str(script), *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


def pack(clone: Path, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(clone / "scripts" / "bundle_for_offline.sh", *arguments, cwd=cwd, **environment)


@pytest.fixture
def bundle(clone: Path, tmp_path: Path) -> Path:
    """An unpacked bundle."""
    result = pack(clone, "bundle.tar", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (tmp_path / "target").mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "bundle.tar", "-C", tmp_path / "target"], check=True)
    return tmp_path / "target" / "fairseq-distil-offline"


def test_what_is_packed(bundle: Path, tmp_path: Path) -> None:
    found = {str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file()}
    assert found == {
        "SHA256SUMS",
        "install.sh",
        "python-version",
        "requirements.txt",
        "sources/fairseq-distil.tar.gz",
        "sources/fairseq_fixed-0.12.3.1.tar.gz",
        "wheels/antlr4_python3_runtime-4.9.3-py3-none-any.whl",
        "wheels/numpy-2.4.6-cp312-cp312-manylinux_2_28_x86_64.whl",
    }
    packages = {line.split("==")[0] for line in (bundle / "requirements.txt").read_text().splitlines()}
    pinned = {line.split("==")[0] for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if "==" in line}
    assert pinned - packages == {"torch", "fairseq-fixed"} and packages < pinned
    with tarfile.open(bundle / "sources" / "fairseq-distil.tar.gz") as archive:
        assert {f"fairseq-distil/{name}" for name in FILES} < set(archive.getnames())
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=bundle, check=True)
    calls = (tmp_path / "pip.log").read_text()
    assert "--python-version 3.12 --implementation cp --abi cp312" in calls
    assert "--platform manylinux_2_28_x86_64 " in calls and "--platform manylinux2014_x86_64 " in calls


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no output given; see --help"),
        (["--python", "3.13", "x.tar"], "--python is 3.13, but must be 3.11 or 3.12"),
        (["--python"], "--python needs a value"),
        (["--quick", "x.tar"], "unknown option --quick; see --help"),
        (["x.tar", "y.tar"], "one output is enough, found x.tar and y.tar"),
        (["pip.log"], "pip.log: exists already; remove it, or choose another output"),
        (["absent/x.tar"], "absent: no such directory"),
    ],
)
def test_packing_refuses(clone: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "pip.log").touch()
    result = pack(clone, *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"error: {message}\n")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PIP_STATUS": "1"}, "pip download failed"),
        ({"BUILT_WHEEL": "antlr4-4.9.3-cp311-cp311-linux_x86_64.whl"}, "is not pure Python"),
    ],
)
def test_a_failure_leaves_nothing(clone: Path, tmp_path: Path, environment: dict[str, str], message: str) -> None:
    result = pack(clone, "bundle.tar", cwd=tmp_path, **environment)
    assert result.returncode == 2
    assert message in result.stderr.splitlines()[-1]
    assert {path.name for path in tmp_path.iterdir()} == {"my clone", "pip.log"}


def install(bundle: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(bundle / "install.sh", *arguments, cwd=bundle.parent, **environment)


def assert_refused(result: subprocess.CompletedProcess[str], message: str) -> None:
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert message in result.stderr


def python_that(version: str, torch: str, path: Path) -> str:
    """An interpreter of some version that answers what the installer asks, and no more."""
    return str(executable(path, f'#!/bin/sh\ncase "$2" in *torch*) {torch} ;; *) echo {version} ;; esac\n'))


def test_installing_refuses(bundle: Path, tmp_path: Path) -> None:
    good = python_that("3.12", "echo /somewhere", tmp_path / "good")
    old = python_that("3.11", "echo /somewhere", tmp_path / "old")
    bare = python_that("3.12", "exit 1", tmp_path / "bare")
    assert_refused(install(bundle, PYTHON=good), "give one new directory; see --help")
    assert_refused(install(bundle, ".", PYTHON=good), ".: exists already")
    assert_refused(install(bundle, "new", PYTHON="no-such-python"), "no-such-python does not run; name a Python 3.12")
    assert_refused(install(bundle, "new", PYTHON=old), "is Python 3.11, but the bundle is for 3.12")
    assert_refused(install(bundle, "new", PYTHON=bare), "cannot import torch, which the bundle does not hold")
    assert_refused(install(bundle, "new", PYTHON=good, CXX="no-such-compiler"), "no compiler 'no-such-compiler'")
    (bundle / "requirements.txt").write_text("")
    assert_refused(install(bundle, "new", PYTHON=good), "a file is missing or damaged; copy the bundle again")
    assert not (bundle.parent / "new").exists()


@pytest.mark.parametrize("script", ["bundle_for_offline.sh", "install_offline.sh"])
def test_help(script: str, tmp_path: Path) -> None:
    result = run(REPOSITORY / "scripts" / script, "--help", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "without a network" in result.stdout and "set -" not in result.stdout and "#" not in result.stdout
