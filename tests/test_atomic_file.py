import errno
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from fairseq_distil.atomic_file import remove_left_behind, replace_whole, write_whole


def test_text_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.txt"
    for text in ("first é", "second"):
        write_whole(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert list(path.parent.iterdir()) == [path]


def test_what_was_there_stays_where_writing_fails(tmp_path: Path) -> None:
    def write(file: BinaryIO) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    path = tmp_path / "a"
    path.write_bytes(b"whole")
    with pytest.raises(KeyboardInterrupt):
        replace_whole(path, write, tmp_path / "a.tmp")
    assert path.read_bytes() == b"whole" and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_put_on_the_disk_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network disks cannot; the file is there all the same."""
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    replace_whole(tmp_path / "a", lambda file: file.write(b"whole"), tmp_path / "a.tmp")
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_what_is_being_written_is_not_taken_for_what_was_left_behind(tmp_path: Path) -> None:
    (tmp_path / "b.tmp").write_bytes(b"half")
    (tmp_path / "c.tmp").mkdir()
    (tmp_path / "c.tmp" / "file").touch()
    (tmp_path / "other").touch()
    (tmp_path / "link.tmp").symlink_to(tmp_path / "other")

    def write(file: BinaryIO) -> None:
        remove_left_behind(tmp_path, "*.tmp")
        file.write(b"whole")

    replace_whole(tmp_path / "a", write, tmp_path / "a.tmp")
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert {path.name for path in tmp_path.iterdir()} == {"a", "other", "link.tmp"}


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are written all the same, and nothing is removed."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    replace_whole(tmp_path / "a", lambda file: file.write(b"whole"), tmp_path / "a.tmp")
    (tmp_path / "b.tmp").touch()
    remove_left_behind(tmp_path, "*.tmp")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b.tmp"}
