"""Checkpoints that are as they were written, and read, are told from damaged ones and from those that are refused."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from fairseq_distil.checkpoints.checkpoint_fault import Fault, fault_of
from fairseq_distil.errors import UserError

from ..limits import no_more_memory_than
from .damages import every_damage, write


@every_damage
def test_every_damage_is_found(damage: object, tmp_path: Path) -> None:
    path = write(tmp_path / "checkpoint_last.pt", updates=3)
    assert fault_of(path) is None
    damage(path)
    assert fault_of(path).is_damage


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
        fault = fault_of(path)
        if fault is None:
            state = torch.load(path, weights_only=True)
            assert state["optimizer_history"] == [{"num_updates": 3}]
            assert torch.equal(state["model"]["weight"], torch.arange(5.0))
        else:
            assert fault.is_damage
            found += 1
    assert found > len(content) / 4


def test_what_is_compressed_is_not_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint_last.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(10_000))
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("a record was read"))
    assert fault_of(path) == Fault("a record is compressed, or not described as torch does", is_damage=True)


every_part = pytest.mark.parametrize("part", ["model", "criterion", "last_optimizer_state"])


@every_part
def test_a_view_of_one_value_is_not_expanded(part: str, tmp_path: Path) -> None:
    path = write(tmp_path / "checkpoint_last.pt", updates=3)
    torch.save(torch.load(path) | {part: {"weight": torch.zeros(1).expand(10**12)}}, path)
    with no_more_memory_than(2**30):
        fault = fault_of(path)
    reason = "its pickle has a tensor that claims more values than its storage holds"
    assert fault == Fault(f"{reason}; save it again with a clone() of each tensor", is_damage=False)


@every_part
def test_parts_that_double_are_not_walked_through(part: str, tmp_path: Path) -> None:
    tree = {"weight": torch.ones(3)}
    for _ in range(40):
        tree = {"a": tree, "b": tree}
    path = write(tmp_path / "checkpoint_last.pt", updates=3)
    torch.save(torch.load(path) | {part: tree}, path)
    assert fault_of(path) == Fault("its pickle has more than 1,048,576 values", is_damage=False)


def test_memory_that_runs_out_is_no_damage(tmp_path: Path) -> None:
    last = tmp_path / "checkpoint_last.pt"
    torch.save({"model": {"weight": torch.zeros(2**24)}}, last)
    with no_more_memory_than(2**25), pytest.raises(UserError, match=": cannot be read: Cannot allocate memory; it may"):
        fault_of(last)
    assert fault_of(last) is None


def test_what_is_refused_as_it_was_written(tmp_path: Path) -> None:
    """The checksums are right, so the disk has not damaged it."""
    path = tmp_path / "checkpoint_last.pt"
    torch.save({"model": {}, "best": np.float64(3.5)}, path)
    fault = fault_of(path)
    assert not fault.is_damage
    assert fault.reason.startswith("holds objects that safe loading refuses, the first of them numpy._core.multiarray.")


def save_in_old_format(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def test_the_format_of_torch_before_1_6(tmp_path: Path) -> None:
    """It has no checksums: what cannot be read may be damaged, or refused."""
    path = tmp_path / "checkpoint_last.pt"
    save_in_old_format({"model": {"weight": torch.arange(5.0)}}, path)
    assert fault_of(path) is None
    path.write_bytes(path.read_bytes()[:-1])
    assert fault_of(path) == Fault("its storages do not end where the file ends", is_damage=False)
    save_in_old_format({"model": {"weight": torch.tensor([torch.nan])}}, path)
    assert fault_of(path) == Fault("model.weight holds values that are not finite", is_damage=True)
