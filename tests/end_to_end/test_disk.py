"""A disk that is full or read-only ends a run with one line; the run goes on once that is mended."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from .commands import FOLDER, SETTINGS, Run
from .conftest import STUDENT, Options
from .test_resume import assert_ended_alike

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def train_on_small_disk(tmp_path: Path) -> Callable[[str, list[str]], Run]:
    """Runs a shell script in which ``train`` is fairseq-train and ``$disk`` a disk of 4 MB, copied to ``kept``."""
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*namespace, "mount", "-t", "tmpfs", "none", disk], capture_output=True).returncode != 0:
        pytest.skip("needs a user namespace, to mount a disk of its own")

    def run(script: str, arguments: list[str]) -> Run:
        lines = [
            f'disk={disk}; arguments=("$@"); train() {{ {FOLDER}/fairseq-train "${{arguments[@]}}"; }}',
            'mount -t tmpfs -o size=4M none "$disk"',
            script,
            f'status=$?; cp -r "$disk" {kept}; exit $status',
        ]
        shell = [*namespace, "bash", "-c", "\n".join(lines), "bash", *arguments]
        ended = subprocess.run(shell, capture_output=True, text=True, **SETTINGS)
        return Run(ended.returncode, ended.stdout, ended.stderr, kept)

    return run


def test_a_full_disk(
    train_on_small_disk: Callable[..., Run], student: Run, distillation_options: Options, tmp_path: Path
) -> None:
    """It is full after some checkpoints; then there is room again."""
    script = """
        head -c 2500000 /dev/zero > "$disk/filler"
        train 2> "$disk/errors" && exit 9
        ls "$disk" > "$disk/names"
        rm "$disk/filler"
        train"""
    run = train_on_small_disk(script, distillation_options(tmp_path / "disk", **STUDENT)).assert_succeeded()
    *_, error = (run.save_dir / "errors").read_text().splitlines()
    assert error.startswith(f"error: {tmp_path}/disk/checkpoint_") and "No space left on device; what was" in error
    names = (run.save_dir / "names").read_text().split()
    assert "checkpoint_1_5.pt" in names and "checkpoint_2_40.pt" not in names
    assert not any(name.endswith(".tmp") for name in names)
    assert_ended_alike(run, student, from_update=1)


@pytest.fixture
def train_through_failure(
    train_on_small_disk: Callable[..., Run], distillation_options: Options, student: Run, tmp_path: Path
) -> Callable[..., tuple[str, list[str]]]:
    """Trains on a disk that fails after the first checkpoint, and again when it is repaired, to undisturbed weights.

    Gives what the two wrote to stdout, and the lines of the first one's errors.
    """

    def run(failure: str, repair: str, **settings: Any) -> tuple[str, list[str]]:
        errors = tmp_path / "errors"
        script = f"""
            train 2> {errors} &
            until [ -e "$disk/checkpoint_last.pt" ]; do sleep 0.05; done
            {failure}
            wait $! && exit 9
            {repair}
            train"""
        arguments = distillation_options(tmp_path / "disk", **STUDENT | settings)
        run = train_on_small_disk(script, arguments).assert_succeeded()
        torch.testing.assert_close(run.weights(), student.weights(), rtol=0, atol=0)
        return run.stdout, errors.read_text().splitlines()

    return run


def test_a_disk_that_is_full_to_the_last_byte(train_through_failure: Callable, tmp_path: Path) -> None:
    """Where TensorBoard's files are written as well, which are the first to find no room."""
    told, errors = train_through_failure(
        'cat /dev/zero > "$disk/filler" 2> /dev/null',
        'rm "$disk/filler"',
        tensorboard_logdir=tmp_path / "disk" / "tensorboard",
        save_interval_updates=0,
    )
    assert "no further curves in this run, for they cannot be written: No space left on device" in told
    assert not any("Traceback" in line for line in errors)
    assert errors[-1].startswith(f"error: {tmp_path}/disk/checkpoint")
    assert "No space left on device; what was" in errors[-1]


def test_a_disk_that_becomes_read_only(train_through_failure: Callable, tmp_path: Path) -> None:
    _, errors = train_through_failure(
        'until mount -o remount,ro "$disk" 2> /dev/null; do sleep 0.01; done',
        'mount -o remount,rw "$disk"',
        tensorboard_logdir=None,
    )
    assert errors[-1].startswith(f"error: {tmp_path}/disk/checkpoint_")
    assert "Read-only file system; what was" in errors[-1]


def test_a_read_only_folder(
    train_on_small_disk: Callable[..., Run], distillation_options: Options, tmp_path: Path
) -> None:
    run = train_on_small_disk('mount -o remount,ro "$disk"; train', distillation_options(tmp_path / "disk"))
    run.assert_one_error_line("Read-only file system", f"{tmp_path}/disk")
    assert run.logged("train_inner") == []
