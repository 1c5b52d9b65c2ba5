"""A damaged ``checkpoint_last.pt`` is replaced by the newest checkpoint that is whole, which is told."""

import logging
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fairseq_distil.checkpoints.fall_back import fall_back_if_damaged
from fairseq_distil.errors import UserError

from .damages import every_damage, flip_a_bit, overwrite, told_of, truncate, write

every_state_of_last = pytest.mark.parametrize("spoil", [lambda path: None, overwrite], ids=["missing", "damaged"])


def updates_of(path: Path) -> int:
    return torch.load(path)["optimizer_history"][-1]["num_updates"]


def test_a_numbered_one_that_is_compressed_is_not_expanded(tmp_path: Path) -> None:
    last = tmp_path / "checkpoint_last.pt"
    overwrite(last)
    write(tmp_path / "checkpoint_1_5.pt", updates=5)
    stored = zipfile.ZipFile(write(tmp_path / "checkpoint_1_9.pt", updates=9))
    records = {name: stored.read(name) for name in stored.namelist()}
    with zipfile.ZipFile(tmp_path / "checkpoint_1_9.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    fall_back_if_damaged(last)
    assert updates_of(last) == 5


def test_a_disk_that_cannot_be_read_is_no_damage(tmp_path: Path) -> None:
    """Here it is the memory of this process, which has none at 0."""
    last = tmp_path / "checkpoint_last.pt"
    last.symlink_to("/proc/self/mem")
    write(tmp_path / "checkpoint_1_5.pt", updates=5)
    with pytest.raises(UserError, match=f"^{last}: cannot be read: Input/output error; it may be whole, and stays"):
        fall_back_if_damaged(last)
    assert last.is_symlink() and len(list(tmp_path.iterdir())) == 2


@every_state_of_last
def test_another_one_that_cannot_be_read_may_be_the_newest(spoil: Callable, tmp_path: Path) -> None:
    """The run would write over it."""
    last = tmp_path / "checkpoint_last.pt"
    spoil(last)
    write(tmp_path / "checkpoint_1_5.pt", updates=5)
    (tmp_path / "checkpoint_1_9.pt").symlink_to("/proc/self/mem")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match="checkpoint_1_9.pt: cannot be read: Input/output error; it may be whole"):
        fall_back_if_damaged(last)
    assert sorted(tmp_path.iterdir()) == before


def test_weights_that_are_not_finite_are_not_gone_on_from(tmp_path: Path) -> None:
    last = tmp_path / "checkpoint_last.pt"
    torch.save({"model": {"a": torch.tensor([1.0, torch.nan])}, "optimizer_history": [{"num_updates": 9}]}, last)
    write(tmp_path / "checkpoint_1_5.pt", updates=5)
    fall_back_if_damaged(last)
    assert updates_of(last) == 5


def test_a_damaged_one_is_kept_without_more_room(tmp_path: Path) -> None:
    last = write(tmp_path / "checkpoint_last.pt", updates=9)
    flip_a_bit(last)
    damaged = last.stat().st_ino
    write(tmp_path / "checkpoint_1_5.pt", updates=5)
    fall_back_if_damaged(last)
    assert last.with_name("checkpoint_last.pt.damaged").stat().st_ino == damaged != last.stat().st_ino


@every_damage
def test_the_newest_whole_one_takes_its_place(damage: object, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    last = write(tmp_path / "checkpoint_last.pt", updates=30)
    damage(last)
    damaged = last.read_bytes()
    flip_a_bit(write(tmp_path / "checkpoint_2_25.pt", updates=25))
    newest = write(tmp_path / "checkpoint_1_20.pt", updates=20)
    for name, updates in (("checkpoint1.pt", 15), ("checkpoint_best.pt", 10), ("checkpoint_1_9.pt", 9)):
        write(tmp_path / name, updates)
    write(tmp_path / "crash.pt", updates=29)
    os.utime(newest, (1, 1))  # written in 1970, by the clock of that moment
    with caplog.at_level(logging.WARNING):
        fall_back_if_damaged(last)
    assert last.read_bytes() == newest.read_bytes()
    assert (tmp_path / "checkpoint_last.pt.damaged").read_bytes() == damaged
    damage(last)
    second = last.read_bytes()
    fall_back_if_damaged(last)
    assert (tmp_path / "checkpoint_last.pt.damaged").read_bytes() == damaged
    assert (tmp_path / "checkpoint_last.pt.damaged2").read_bytes() == second
    record, _ = caplog.records
    assert record.message == (
        f"{last}: damaged, and kept as checkpoint_last.pt.damaged, for {told_of(damage)}; the run goes on from "
        "checkpoint_1_20.pt, the newest that is whole; to start from nothing instead, give another --save-dir "
        "(checkpoint.save_dir), or take all checkpoints away"
    )


def test_a_whole_one_stays(tmp_path: Path) -> None:
    """Also where there is one of more updates, for someone may have put an older one in its place."""
    os.utime(write(tmp_path / "checkpoint_1_5.pt", updates=5), (1, 1))
    last = write(tmp_path / "checkpoint_last.pt", updates=3)
    fall_back_if_damaged(last)
    assert updates_of(last) == 3
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["checkpoint_1_5.pt", "checkpoint2.pt", "checkpoint_best.pt"])
def test_killed_between_a_checkpoint_and_its_copies(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """fairseq writes the last one last."""
    last = write(tmp_path / "checkpoint_last.pt", updates=3)
    os.utime(last, (1, 1))
    write(tmp_path / name, updates=5)
    with caplog.at_level(logging.WARNING):
        fall_back_if_damaged(last)
    assert updates_of(last) == 5
    assert f"checkpoint_last.pt: older than {name}, after which a save was interrupted" in caplog.text
    assert len(list(tmp_path.iterdir())) == 2


def test_killed_between_that_and_a_damaged_copy(tmp_path: Path) -> None:
    last = write(tmp_path / "checkpoint_last.pt", updates=3)
    os.utime(last, (1, 1))
    write(tmp_path / "checkpoint_1_4.pt", updates=4)
    flip_a_bit(write(tmp_path / "checkpoint_1_5.pt", updates=5))
    fall_back_if_damaged(last)
    assert updates_of(last) == 4


def test_killed_before_it_was_written_for_the_first_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "checkpoint_1_5.pt", updates=5)
    write(tmp_path / "checkpoint_best.pt", updates=7)  # not this run's: its first is numbered as well
    last = tmp_path / "checkpoint_last.pt"
    with caplog.at_level(logging.WARNING):
        fall_back_if_damaged(last)
    assert torch.load(last)["optimizer_history"][-1]["num_updates"] == 5
    assert "missing; the run goes on from checkpoint_1_5.pt" in caplog.text


def test_a_best_one_that_came_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where an epoch's end writes no numbered ones."""
    best = write(tmp_path / "checkpoint_best.pt", updates=7)
    last = tmp_path / "checkpoint_last.pt"
    with caplog.at_level(logging.WARNING):
        fall_back_if_damaged(last, best_comes_first=True)
    assert last.read_bytes() == best.read_bytes()
    assert "missing; the run goes on from checkpoint_best.pt" in caplog.text
    write(tmp_path / "checkpoint_1_5.pt", updates=5)  # then the best one is another run's
    last.unlink()
    fall_back_if_damaged(last, best_comes_first=True)
    assert torch.load(last)["optimizer_history"][-1]["num_updates"] == 5


def test_damaged_beside_the_best_one_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    last, best = (write(tmp_path / f"checkpoint_{name}.pt", updates=3) for name in ("last", "best"))
    truncate(last)
    with caplog.at_level(logging.WARNING):
        fall_back_if_damaged(last)
    assert last.read_bytes() == best.read_bytes()
    told = f"damaged, and kept as checkpoint_last.pt.damaged, for {told_of(truncate)}; the run goes on from "
    assert f"{told}checkpoint_best.pt" in caplog.text


@pytest.mark.parametrize("names", [[], ["checkpoint_best.pt", "checkpoint_teacher.pt"]])
def test_a_new_run_begins_from_nothing(names: list[str], tmp_path: Path) -> None:
    for name in names:
        write(tmp_path / name, updates=5)
    fall_back_if_damaged(tmp_path / "checkpoint_last.pt")
    assert not (tmp_path / "checkpoint_last.pt").exists()


def test_damaged_and_no_other(tmp_path: Path) -> None:
    last = write(tmp_path / "checkpoint_last.pt", updates=3)
    truncate(last)
    truncate(write(tmp_path / "checkpoint_best.pt", updates=2))
    expected = (
        f"checkpoint_last.pt: damaged, and no other checkpoint in this folder is whole: {told_of(truncate)}; take"
    )
    with pytest.raises(UserError, match=expected):
        fall_back_if_damaged(last)
    assert last.exists()


def refused(path: Path) -> Path:
    """As it was written, but with a number of numpy, which safe loading refuses."""
    torch.save(torch.load(write(path, updates=9)) | {"best": np.float64(3.5)}, path)
    return path


def test_what_is_refused_is_not_taken_for_damaged(tmp_path: Path) -> None:
    last = refused(tmp_path / "checkpoint_last.pt")
    content = last.read_bytes()
    reason = (
        f"^{last}: refused, and stays as it is, for no checksum tells of damage: holds objects that safe "
        r"loading refuses, the first of them numpy\S+: .*; take it away to "
    )
    with pytest.raises(UserError, match=f"{reason}start from nothing$"):
        fall_back_if_damaged(last)
    write(tmp_path / "checkpoint_1_5.pt", updates=5)
    with pytest.raises(UserError, match=f"{reason}go on from checkpoint_1_5.pt, the newest that is whole$"):
        fall_back_if_damaged(last)
    assert last.read_bytes() == content and len(list(tmp_path.iterdir())) == 2


@every_state_of_last
@pytest.mark.parametrize("others", [(), (5,)])
def test_another_one_that_is_refused_may_be_the_newest(
    others: tuple[int, ...], spoil: Callable, tmp_path: Path
) -> None:
    last = tmp_path / "checkpoint_last.pt"
    spoil(last)
    newest = refused(tmp_path / "checkpoint_1_9.pt")
    content = newest.read_bytes()
    for updates in others:
        write(tmp_path / f"checkpoint_1_{updates}.pt", updates)
    told = f"^{newest}: refused, and stays as it is, .*numpy.*; take it away to go on without it, though it may be "
    with pytest.raises(UserError, match=told):
        fall_back_if_damaged(last)
    assert newest.read_bytes() == content and len(list(tmp_path.iterdir())) == 1 + len(others) + last.exists()


def test_refused_as_another_one_is(tmp_path: Path) -> None:
    last = refused(tmp_path / "checkpoint_last.pt")
    refused(tmp_path / "checkpoint_1_9.pt")
    with pytest.raises(UserError, match=f"^{last}: refused, .* take it away to have the others looked at"):
        fall_back_if_damaged(last)


@pytest.mark.parametrize(("name", "best_comes_first"), [("checkpoint_1_9.pt", False), ("checkpoint_best.pt", True)])
def test_damaged_ones_alone_are_not_written_over(name: str, best_comes_first: bool, tmp_path: Path) -> None:
    truncate(write(tmp_path / name, updates=9))
    told = (
        f"^{tmp_path}: has no checkpoint_last.pt, and {name} damaged; take all checkpoints away to start from nothing$"
    )
    with pytest.raises(UserError, match=told):
        fall_back_if_damaged(tmp_path / "checkpoint_last.pt", best_comes_first)


def test_a_link_to_an_older_one_stays(tmp_path: Path) -> None:
    """Someone wants to go on from there."""
    for updates in (5, 9):
        os.utime(write(tmp_path / f"checkpoint_1_{updates}.pt", updates), (updates, updates))
    last = tmp_path / "checkpoint_last.pt"
    last.symlink_to("checkpoint_1_5.pt")
    fall_back_if_damaged(last)
    assert updates_of(last) == 5 and last.is_symlink()


def test_one_of_torch_before_1_6_stays(tmp_path: Path) -> None:
    last = tmp_path / "checkpoint_last.pt"
    state = {"optimizer_history": [{"num_updates": 3}], "model": {"weight": torch.arange(5.0)}}
    torch.save(state, last, _use_new_zipfile_serialization=False)
    os.utime(write(tmp_path / "checkpoint_1_5.pt", updates=5), (1, 1))
    fall_back_if_damaged(last)
    assert updates_of(last) == 3
