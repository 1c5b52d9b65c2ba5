"""Checkpoints are whole or not there, whatever becomes of the disk or the process."""

import io
import logging
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.file_io import PathManager

from fairseq_distil import atomic_file
from fairseq_distil.checkpoints import atomic_saving
from fairseq_distil.checkpoints.atomic_saving import copy_atomically, save_atomically
from fairseq_distil.checkpoints.checkpoint_fault import fault_of
from fairseq_distil.errors import UserError

from ..limits import no_file_larger_than

CHECKPOINT = {"model": {f"weight{index}": torch.full((997,), float(index)) for index in range(9)}}
OLD = b"old"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint that is there already; failures are tried again without delay."""
    monkeypatch.setattr(atomic_saving, "SECONDS_BETWEEN_ATTEMPTS", 0)
    (tmp_path / "checkpoint_last.pt").write_bytes(OLD)
    return tmp_path / "checkpoint_last.pt"


def test_fairseq_writes_and_copies_checkpoints_this_way() -> None:
    assert checkpoint_utils.torch_persistent_save is save_atomically
    assert PathManager.copy is copy_atomically


def test_save(path: Path) -> None:
    save_atomically(CHECKPOINT, str(path))
    assert fault_of(path) is None
    torch.testing.assert_close(torch.load(path), CHECKPOINT, rtol=0, atol=0)
    assert list(path.parent.iterdir()) == [path]


def test_metrics_that_are_numpys_are_saved_as_plain_numbers(path: Path) -> None:
    """As the F1 of fairseq's criterion ``sentence_prediction`` is."""
    f1 = np.float64(69.25)
    extra = {"best": f1, "val_loss": f1, "metrics": {"valid": [(0, "f1", "AverageMeter", {"sum": f1, "count": 3})]}}
    save_atomically(CHECKPOINT | {"extra_state": extra}, str(path))
    assert fault_of(path) is None
    stored = torch.load(path)["extra_state"]
    assert stored == extra and type(stored["best"]) is float
    assert type(stored["metrics"]["valid"][0][3]["sum"]) is float


def test_copy(path: Path) -> None:
    source = path.with_name("checkpoint1.pt")
    source.write_bytes(b"new")
    with pytest.raises(FileExistsError, match="checkpoint_last.pt exists already"):
        copy_atomically(str(source), str(path))
    assert path.read_bytes() == OLD
    assert copy_atomically(str(source), str(path), overwrite=True)
    assert path.read_bytes() == b"new"
    assert sorted(path.parent.iterdir()) == [source, path]


def test_copies_over_iopath_are_left_to_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = []
    monkeypatch.setattr(PathManager, "supports_rename", staticmethod(lambda _: False))
    monkeypatch.setattr(atomic_saving, "_copy_remotely", lambda *arguments: copied.append(arguments))
    copy_atomically("s3://a", "s3://b", overwrite=True)
    assert copied == [("s3://a", "s3://b", True)]


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


def test_a_disk_that_is_full_for_a_moment(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fairseq writes the second attempt behind what the first has left in the file."""
    with no_file_larger_than(20_000) as lift, caplog.at_level(logging.WARNING):
        monkeypatch.setattr("time.sleep", lambda _: lift())
        save_atomically(CHECKPOINT, str(path))
    assert caplog.text.count("not written: File too large; trying again") == 1
    assert fault_of(path) is None
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
    for part in ("model", "criterion"):
        expected = f"checkpoint_last.pt: not written, for {part}.weight3 holds values that are not finite"
        with pytest.raises(UserError, match=expected):
            save_atomically({"model": {}, part: damaged}, str(path))
        assert path.read_bytes() == OLD


def test_moments_that_are_not_finite_are_not_written(path: Path) -> None:
    """The square of a gradient of 1e25 is not; its weight, divided by the root, never changes again."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight])
    weight.grad = torch.tensor([1.0, 1e25, 1.0])
    optimizer.step()
    assert weight.isfinite().all()
    checkpoint = {"model": {"weight": weight.data}, "last_optimizer_state": optimizer.state_dict()}
    with pytest.raises(UserError, match="not written, for last_optimizer_state.state.0.exp_avg_sq holds values"):
        save_atomically(checkpoint, str(path))
    assert path.read_bytes() == OLD


@pytest.mark.parametrize("part", ["ema", "ema_fp32_params"])
def test_averages_that_are_not_finite_are_not_written(part: str, path: Path) -> None:
    """As fairseq's ``--store-ema`` keeps them; of finite weights, they are not where their type has no room."""
    averages = OrderedDict(weight=torch.tensor([1.0, torch.inf]))
    checkpoint = CHECKPOINT | {"extra_state": {part: averages}}
    with pytest.raises(UserError, match=f"not written, for extra_state.{part}.weight holds values that are not finite"):
        save_atomically(checkpoint, str(path))
    assert path.read_bytes() == OLD
    averages["weight"][1] = 2.0
    save_atomically(checkpoint, str(path))
    assert fault_of(path) is None


def test_what_iopath_would_write_is_checked_first(path: Path) -> None:
    with pytest.raises(UserError, match="not written, for model.weight holds"):
        save_atomically({"model": {"weight": torch.tensor([torch.nan])}}, str(path), async_write=True)


class FaultyState:
    """Something in a checkpoint that cannot be saved."""

    attempts = 0

    def __reduce__(self) -> tuple:
        FaultyState.attempts += 1
        raise RuntimeError


def test_what_is_not_of_the_disk_is_not_tried_again(path: Path) -> None:
    with pytest.raises(RuntimeError):
        save_atomically({"model": {}, "extra_state": FaultyState()}, str(path))
    assert FaultyState.attempts == 1
    assert path.read_bytes() == OLD and list(path.parent.iterdir()) == [path]


def test_the_post_mortem_is_no_error_of_its_own(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """fairseq writes it while it handles the error that is to be told."""
    crash = path.with_name("crash.pt")
    with caplog.at_level(logging.WARNING):
        save_atomically({"model": {"weight": torch.tensor([torch.nan])}}, str(crash))
        with no_file_larger_than(20_000):
            save_atomically(CHECKPOINT, str(crash))
    assert "crash.pt: not written, for model.weight holds" in caplog.text and "File too large" in caplog.text
    assert not crash.exists()
    save_atomically(CHECKPOINT, str(crash))
    assert fault_of(crash) is None


def test_a_mistake_of_the_user_needs_no_post_mortem(path: Path) -> None:
    crash = path.with_name("crash.pt")
    for error, is_written in ((UserError("a line"), False), (ValueError("a bug"), True)):
        try:
            raise error
        except ValueError:
            save_atomically(CHECKPOINT, str(crash))
            save_atomically(CHECKPOINT, str(path))
        assert fault_of(path) is None and crash.exists() == is_written


def test_a_name_in_the_current_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    save_atomically(CHECKPOINT, path.name)
    assert fault_of(path) is None
