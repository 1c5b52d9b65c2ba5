import fcntl
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from fairseq_distil.data.atomic_directory import atomic_directory
from fairseq_distil.errors import UserError


def test_the_directory_appears_when_it_is_complete(tmp_path: Path) -> None:
    output = tmp_path / "new" / "output"
    with atomic_directory(output) as directory:
        (directory / "file").write_text("content")
        assert not output.exists()
        assert directory.parent == output.parent and directory.name.startswith(".output.partial-")
    assert [path.name for path in output.parent.iterdir()] == ["output"]
    assert (output / "file").read_text() == "content"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_after_an_error(error: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(error), atomic_directory(tmp_path / "output") as directory:
        (directory / "file").write_text("content")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_never_replaced(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="output: exists already"), atomic_directory(output):
        raise AssertionError("not reached")
    output.unlink()
    with pytest.raises(UserError, match="output: exists already"), atomic_directory(output):
        output.mkdir()
    assert list(output.iterdir()) == []


def test_what_was_left_behind_is_removed_unless_it_is_in_use(tmp_path: Path) -> None:
    left = tmp_path / ".output.partial-0123abcd"
    left.mkdir()
    (left / "train.bin").write_bytes(b"half")
    (tmp_path / ".other.partial-0123abcd").mkdir()
    with atomic_directory(tmp_path / "output") as first:
        assert not left.exists()
        with pytest.raises(KeyboardInterrupt), atomic_directory(tmp_path / "output"):
            assert first.is_dir()
            raise KeyboardInterrupt
    assert {path.name for path in tmp_path.iterdir()} == {"output", ".other.partial-0123abcd"}


@pytest.mark.parametrize(("module", "name"), [(os, "open"), (fcntl, "flock")])
def test_a_directory_that_is_removed_as_it_is_made_is_made_again(
    module: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process takes it for left behind, until it is locked."""
    function = getattr(module, name)

    def call(*arguments: Any) -> Any:
        monkeypatch.setattr(module, name, function)
        (partial,) = tmp_path.glob(".output.partial-*")
        shutil.rmtree(partial)
        return function(*arguments)

    monkeypatch.setattr(module, name, call)
    with atomic_directory(tmp_path / "output") as directory:
        (directory / "file").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["output"]
