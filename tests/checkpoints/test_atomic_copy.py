import shutil
from pathlib import Path

import pytest
from fairseq.file_io import PathManager

from fairseq_distil.checkpoints.atomic_copy import copy_atomically


def test_copy(tmp_path: Path) -> None:
    (tmp_path / "checkpoint1.pt").write_bytes(b"new")
    (tmp_path / "checkpoint_last.pt").write_bytes(b"old")
    source, destination = str(tmp_path / "checkpoint1.pt"), str(tmp_path / "checkpoint_last.pt")
    with pytest.raises(FileExistsError, match="checkpoint_last.pt exists already"):
        copy_atomically(source, destination)
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == b"old"
    assert copy_atomically(source, destination, overwrite=True)
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint1.pt", "checkpoint_last.pt"]


def test_a_copy_that_is_cut_short_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed_in_the_middle(source: str, destination: str) -> None:
        Path(destination).write_bytes(Path(source).read_bytes()[:1])
        raise KeyboardInterrupt

    (tmp_path / "checkpoint1.pt").write_bytes(b"new")
    (tmp_path / "checkpoint_last.pt").write_bytes(b"old")
    monkeypatch.setattr(shutil, "copyfile", killed_in_the_middle)
    with pytest.raises(KeyboardInterrupt):
        copy_atomically(str(tmp_path / "checkpoint1.pt"), str(tmp_path / "checkpoint_last.pt"), overwrite=True)
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == b"old"


def test_fairseq_copies_checkpoints_this_way() -> None:
    assert PathManager.copy is copy_atomically
