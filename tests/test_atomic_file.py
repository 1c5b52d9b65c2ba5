import errno
import fcntl
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from fairseq_distil.atomic_file import remove_left_behind, replace_whole, write_whole

LEFT = "a.0123abcd.tmp"
SIZE = 300_000


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
        replace_whole(path, write)
    assert path.read_bytes() == b"whole" and list(tmp_path.iterdir()) == [path]


def test_two_at_once_write_a_file_of_their_own_each(tmp_path: Path) -> None:
    """The one that ends last stays."""
    path = tmp_path / "a"

    def write(file: BinaryIO) -> None:
        file.write(b"fir")
        replace_whole(path, lambda other: other.write(b"second"))
        assert path.read_bytes() == b"second"
        file.write(b"st")

    replace_whole(path, write)
    assert path.read_bytes() == b"first" and list(tmp_path.iterdir()) == [path]


def write_again_and_again(path: Path, content: bytes, times: int) -> None:
    for _ in range(times):
        replace_whole(path, lambda file: [file.write(content) for _ in range(SIZE)])


def test_processes_that_write_a_file_at_once_and_one_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=write_again_and_again, args=(path, content, times))
        for content, times in ((b"x", 4), (b"y", 4), (b"z", 10**6))
    ]
    for process in processes:
        process.start()
    for process in processes[:2]:
        process.join()
    os.kill(processes[2].pid, signal.SIGKILL)
    processes[2].join()
    assert [process.exitcode for process in processes] == [0, 0, -signal.SIGKILL]
    assert path.read_bytes() in (b"x" * SIZE, b"y" * SIZE, b"z" * SIZE)
    replace_whole(path, lambda file: file.write(b"whole"))
    assert path.read_bytes() == b"whole" and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_put_on_the_disk_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network disks cannot; the file is there all the same."""
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    replace_whole(tmp_path / "a", lambda file: file.write(b"whole"))
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_what_a_kill_left_behind_is_removed_when_the_file_is_written(tmp_path: Path) -> None:
    others = {"a.tmp", "a.mine.tmp", "b.0123abcd.tmp"}
    for name in (LEFT, *others):
        (tmp_path / name).write_bytes(b"half")
    replace_whole(tmp_path / "a", lambda file: file.write(b"whole"))
    assert {path.name for path in tmp_path.iterdir()} == {"a", *others}


def removing_before(function: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """The function, before whose first call another process removes what was left behind."""
    calls = []

    def call(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            remove_left_behind(folder, "a.*.tmp")
        return function(*arguments)

    return call


@pytest.mark.parametrize(("module", "name"), [(fcntl, "flock"), (os, "replace")], ids=["made", "whole"])
def test_what_was_just_made_or_is_whole_is_not_lost(
    module: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At these two moments it was in no one's use."""
    monkeypatch.setattr(module, name, removing_before(getattr(module, name), tmp_path))
    replace_whole(tmp_path / "a", lambda file: file.write(b"whole"))
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_is_being_written_is_not_taken_for_what_was_left_behind(tmp_path: Path) -> None:
    (tmp_path / "b.tmp").write_bytes(b"half")
    (tmp_path / "c.tmp").mkdir()
    (tmp_path / "c.tmp" / "file").touch()
    (tmp_path / "other").touch()
    (tmp_path / "link.tmp").symlink_to(tmp_path / "other")

    def write(file: BinaryIO) -> None:
        remove_left_behind(tmp_path, "*.tmp")
        file.write(b"whole")

    replace_whole(tmp_path / "a", write)
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert {path.name for path in tmp_path.iterdir()} == {"a", "other", "link.tmp"}


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are written all the same, and nothing is removed."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    replace_whole(tmp_path / "a", lambda file: file.write(b"whole"))
    (tmp_path / "b.tmp").touch()
    remove_left_behind(tmp_path, "*.tmp")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b.tmp"}
