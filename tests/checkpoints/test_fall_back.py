"""A damaged ``checkpoint_last.pt`` is replaced by the newest checkpoint that is whole, which is told."""

import logging
import os
import zipfile
from pathlib import Path

import pytest
import torch

from fairseq_distil.checkpoints.fall_back import fall_back_if_damaged, is_whole
from fairseq_distil.errors import UserError

from ..limits import no_more_memory_than


def write(path: Path, updates: int) -> Path:
    torch.save({"optimizer_history": [{"num_updates": updates}], "model": {"weight": torch.arange(997.0)}}, path)
    return path


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def overwrite(path: Path) -> None:
    path.write_bytes(b"not a checkpoint at all" * 50)


every_damage = pytest.mark.parametrize("damage", [flip_a_bit, truncate, empty, overwrite])


@every_damage
def test_every_damage_is_found(damage: object, tmp_path: Path) -> None:
    path = write(tmp_path / "checkpoint_last.pt", updates=3)
    assert is_whole(path)
    damage(path)
    assert not is_whole(path)


def test_any_bit_of_what_describes_the_values(tmp_path: Path) -> None:
    """Of all bits, those that do not change what torch reads may be flipped; none gives other values or an error."""
    path = tmp_path / "checkpoint_last.pt"
    torch.save({"optimizer_history": [{"num_updates": 3}], "model": {"weight": torch.arange(5.0)}}, path)
    content = path.read_bytes()
    found = 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        if is_whole(path):
            state = torch.load(path, weights_only=True)
            assert state["optimizer_history"] == [{"num_updates": 3}]
            assert torch.equal(state["model"]["weight"], torch.arange(5.0))
        else:
            found += 1
    assert found > len(content) / 4


def updates_of(path: Path) -> int:
    return torch.load(path)["optimizer_history"][-1]["num_updates"]


def test_what_is_compressed_is_not_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint_last.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(10_000))
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("a record was read"))
    assert not is_whole(path)


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


every_part = pytest.mark.parametrize("part", ["model", "criterion", "last_optimizer_state"])


@every_part
def test_a_view_of_one_value_is_not_expanded(part: str, tmp_path: Path) -> None:
    path = write(tmp_path / "checkpoint_last.pt", updates=3)
    torch.save(torch.load(path) | {part: {"weight": torch.zeros(1).expand(10**12)}}, path)
    with no_more_memory_than(2**30):
        assert not is_whole(path)


@every_part
def test_parts_that_double_are_not_walked_through(part: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tree = {"weight": torch.ones(3)}
    for _ in range(40):
        tree = {"a": tree, "b": tree}
    path = write(tmp_path / "checkpoint_last.pt", updates=3)
    torch.save(torch.load(path) | {part: tree}, path)
    assert not is_whole(path)


def test_a_disk_that_cannot_be_read_is_no_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Here it is the memory of this process, which has none at 0."""
    last = tmp_path / "checkpoint_last.pt"
    last.symlink_to("/proc/self/mem")
    write(tmp_path / "checkpoint_1_5.pt", updates=5)
    with pytest.raises(UserError, match=f"^{last}: cannot be read: Input/output error; it may be whole, and stays"):
        fall_back_if_damaged(last)
    assert last.is_symlink() and len(list(tmp_path.iterdir())) == 2
    last.unlink()
    last.write_bytes(b"damaged")
    (tmp_path / "checkpoint_1_9.pt").symlink_to("/proc/self/mem")
    with caplog.at_level(logging.WARNING):
        fall_back_if_damaged(last)
    assert updates_of(last) == 5
    assert "checkpoint_1_9.pt: left out, for it cannot be read: Input/output error" in caplog.text


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


def test_memory_that_runs_out_is_no_damage(tmp_path: Path) -> None:
    last = tmp_path / "checkpoint_last.pt"
    torch.save({"model": {"weight": torch.zeros(2**24)}}, last)
    with no_more_memory_than(2**25), pytest.raises(UserError, match=": cannot be read: Cannot allocate memory; it may"):
        is_whole(last)
    assert is_whole(last)


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
        f"{last}: damaged, and kept as checkpoint_last.pt.damaged; the run goes on from checkpoint_1_20.pt, the newest "
        "that is whole; to start from nothing instead, give another --save-dir (checkpoint.save_dir), or take all "
        "checkpoints away"
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
    assert "damaged, and kept as checkpoint_last.pt.damaged; the run goes on from checkpoint_best.pt" in caplog.text


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
    with pytest.raises(UserError, match="checkpoint_last.pt: damaged, and no other checkpoint in this folder is whole"):
        fall_back_if_damaged(last)
    assert last.exists()
