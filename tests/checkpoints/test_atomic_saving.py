"""Checkpoints are whole or not there, whatever becomes of the disk or the process."""

import io
import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.file_io import PathManager

from fairseq_distil import atomic_file
from fairseq_distil.checkpoints import atomic_saving
from fairseq_distil.checkpoints.atomic_saving import copy_atomically, save_atomically
from fairseq_distil.checkpoints.fall_back import is_whole
from fairseq_distil.errors import UserError

CHECKPOINT = {"model": {f"weight{index}": torch.full((997,), float(index)) for index in range(9)}}
OLD = b"old"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint that is there already; failures are tried again without delay."""
    monkeypatch.setattr(atomic_saving, "SECONDS_BETWEEN_ATTEMPTS", 0)
    (tmp_path / "checkpoint_last.pt").write_bytes(OLD)
    return tmp_path / "checkpoint_last.pt"


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_fairseq_writes_and_copies_checkpoints_this_way() -> None:
    assert checkpoint_utils.torch_persistent_save is save_atomically
    assert PathManager.copy is copy_atomically


def test_save(path: Path) -> None:
    save_atomically(CHECKPOINT, str(path))
    assert is_whole(path)
    torch.testing.assert_close(torch.load(path), CHECKPOINT, rtol=0, atol=0)
    assert list(path.parent.iterdir()) == [path]


def test_copy(path: Path) -> None:
    source = path.with_name("checkpoint1.pt")
    source.write_bytes(b"new")
    with pytest.raises(FileExistsError, match="checkpoint_last.pt exists already"):
        copy_atomically(str(source), str(path))
    assert path.read_bytes() == OLD
    assert copy_atomically(str(source), str(path), overwrite=True)
    assert path.read_bytes() == b"new"
    assert sorted(path.parent.iterdir()) == [source, path]


def test_a_disk_that_stays_full(path: Path) -> None:
    expected = "checkpoint_last.pt: not written: File too large; what was saved before stays as it is: make room"
    source = path.with_name("checkpoint1.pt")
    save_atomically(CHECKPOINT, str(source))
    with no_file_larger_than(20_000):
        with pytest.raises(UserError, match=expected):
            save_atomically(CHECKPOINT, str(path))
        with pytest.raises(UserError, match=expected):
            copy_atomically(str(source), str(path), overwrite=True)
    assert path.read_bytes() == OLD
    assert sorted(path.parent.iterdir()) == [source, path]


def test_a_disk_that_is_full_for_a_moment(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """fairseq writes the second attempt behind what the first has left in the file."""
    path.with_name(f"{path.name}.tmp").symlink_to("/dev/full")
    with caplog.at_level(logging.WARNING):
        save_atomically(CHECKPOINT, str(path))
    assert "not written: No space left on device; trying again" in caplog.text
    assert is_whole(path)
    torch.testing.assert_close(torch.load(path), CHECKPOINT, rtol=0, atol=0)


def test_ctrl_c_is_not_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch makes an error of its own of it."""

    class InterruptedFile(io.BufferedWriter):
        def write(self, content: Any) -> int:
            if self.tell() > 5_000:
                raise KeyboardInterrupt
            return super().write(content)

    def open_file(name: str, mode: str) -> InterruptedFile:
        return InterruptedFile(io.FileIO(name, mode))

    monkeypatch.setattr(atomic_file, "open", open_file, raising=False)
    with pytest.raises(KeyboardInterrupt):
        save_atomically(CHECKPOINT, str(path))
    assert path.read_bytes() == OLD
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_not_written(value: float, path: Path) -> None:
    damaged = {name: tensor.clone() for name, tensor in CHECKPOINT["model"].items()}
    damaged["weight3"][5] = value
    for checkpoint in ({"model": damaged}, {"model": {}, "criterion": damaged}):
        with pytest.raises(UserError, match="checkpoint_last.pt: not written, for weight3 holds values that are not f"):
            save_atomically(checkpoint, str(path))
        assert path.read_bytes() == OLD


def test_the_post_mortem_is_no_error_of_its_own(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """fairseq writes it while it handles the error that is to be told."""
    crash = path.with_name("crash.pt")
    with caplog.at_level(logging.WARNING):
        save_atomically({"model": {"weight": torch.tensor([torch.nan])}}, str(crash))
        with no_file_larger_than(20_000):
            save_atomically(CHECKPOINT, str(crash))
    assert "crash.pt: not written, for weight holds" in caplog.text and "File too large" in caplog.text
    assert not crash.exists()
    save_atomically(CHECKPOINT, str(crash))
    assert is_whole(crash)


def test_a_name_in_the_current_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    save_atomically(CHECKPOINT, path.name)
    assert is_whole(path)
