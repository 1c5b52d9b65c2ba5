"""Explanations of what torch says of real files."""

import errno
import os
import zipfile
from pathlib import Path

import pytest
import torch

from fairseq_distil.checkpoints.load_errors import explain_load_error, fault_of_the_system


class Arbitrary:
    """Unpickling it would write a file."""

    def __reduce__(self) -> tuple:
        return Path.write_text, (Path("trace"), "executed")


def explanation(path: Path) -> str:
    with pytest.raises(Exception) as error:
        torch.load(path)
    explained = explain_load_error(error.value)
    assert "\n" not in explained
    # torch's advice, which this project never gives
    assert not any(advice in explained for advice in ("weights_only", "can still be loaded", "add_safe_globals"))
    return explained


def test_unsafe_objects(tmp_path: Path) -> None:
    torch.save({"model": {}, "extra": Arbitrary()}, tmp_path / "unsafe.pt")
    assert explanation(tmp_path / "unsafe.pt").startswith(
        "holds objects that safe loading refuses, the first of them getattr: loading them could run code from the "
        "file; export the weights again as a plain checkpoint"
    )


def test_blocked_modules(tmp_path: Path) -> None:
    class Command:
        def __reduce__(self) -> tuple:
            return os.system, ("exit 1",)

    torch.save({"model": {}, "extra": Command()}, tmp_path / "unsafe.pt")
    assert explanation(tmp_path / "unsafe.pt").startswith(
        f"holds objects that safe loading refuses, the first of them {os.system.__module__}.system"
    )


@pytest.mark.parametrize("error", [KeyError("best_loss"), TypeError("list indices must be integers"), IndexError()])
def test_errors_of_whoever_reads_a_file_of_another_kind(error: Exception) -> None:
    assert explain_load_error(error) == "not a checkpoint that can be loaded safely, or damaged"


@pytest.mark.parametrize("content", [b"text\n", b"", b"PK\x03\x04", bytes(range(256))])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other.pt").write_bytes(content)
    assert explanation(tmp_path / "other.pt").startswith("not a checkpoint that can be loaded safely, or damaged")


def test_an_error_that_says_nothing_is_named() -> None:
    assert explain_load_error(EOFError()) == "not a checkpoint that can be loaded safely, or damaged: EOFError"


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (MemoryError(), "Cannot allocate memory"),
        (RuntimeError("unable to mmap 9 bytes from file <x>: Cannot allocate memory (12)"), "Cannot allocate memory"),
        (OSError(errno.EINVAL, "Invalid argument"), None),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), None),
        (RuntimeError("PytorchStreamReader failed reading zip archive"), None),
    ],
)
@pytest.mark.parametrize("is_hidden", [False, True])
def test_what_is_not_the_fault_of_a_file(error: Exception, fault: str | None, is_hidden: bool) -> None:
    """zipfile hides it behind an error of its own."""
    if is_hidden:
        hiding = zipfile.BadZipFile("File is not a zip file")
        hiding.__context__ = error
        error = hiding
    assert fault_of_the_system(error) == fault
