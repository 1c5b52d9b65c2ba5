"""Checkpoints that are small, and what may become of them on a disk."""

from pathlib import Path

import pytest
import torch


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
TOLD = {
    flip_a_bit: "its record checkpoint_last/data/0 has another checksum",
    truncate: "its directory of records cannot be read: File is not a zip file",
    empty: "it begins as no file of torch does",
    overwrite: "it begins as no file of torch does",
}


def told_of(damage: object) -> str:
    """What is told of each of these."""
    return TOLD[damage]
