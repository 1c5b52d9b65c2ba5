import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.errors import CompactHydraException

from fairseq_distil.errors import UserError


def test_an_uncaught_user_error_is_one_line(run_script: Callable, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from fairseq_distil import UserError; raise UserError('data x: no such file')")
    process = run_script(script)
    assert process.returncode != 0
    assert process.stderr.splitlines()[-1] == "error: data x: no such file"
    assert "Traceback" not in process.stderr


def test_a_user_error_behind_an_error_of_fairseq(capsys: pytest.CaptureFixture) -> None:
    try:
        try:
            raise UserError("checkpoint x: of another encoder")
        except Exception:
            raise Exception("Cannot load model parameters")  # noqa: B904  as fairseq does it
    except Exception as error:
        sys.excepthook(type(error), error, error.__traceback__)
    assert capsys.readouterr().err == "error: checkpoint x: of another encoder\n"


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_what_python_would_not_show_is_not_told(is_wrapped: bool, capsys: pytest.CaptureFixture) -> None:
    """The user error was dealt with; what ended the program is something else."""
    try:
        try:
            raise UserError("checkpoint x: of another encoder")
        except UserError:
            raise ZeroDivisionError("a fault of ours") from (KeyError("best") if is_wrapped else None)
    except ZeroDivisionError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    printed = capsys.readouterr().err
    assert "Traceback" in printed and "ZeroDivisionError: a fault of ours" in printed


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.ENAMETOOLONG])
def test_an_error_of_the_disk_is_one_line(number: int, capsys: pytest.CaptureFixture) -> None:
    error = OSError(number, os.strerror(number), "folder/file")
    sys.excepthook(type(error), error, None)
    assert capsys.readouterr().err == f"error: [Errno {number}] {os.strerror(number)}: 'folder/file'\n"


def test_a_full_disk_that_no_file_is_named_of(capsys: pytest.CaptureFixture) -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    sys.excepthook(OSError, error, None)
    expected = "error: No space left on device, where a log or another file is written; make room, and start again\n"
    assert capsys.readouterr().err == expected


def test_other_errors_keep_their_traceback(capsys: pytest.CaptureFixture) -> None:
    try:
        raise ValueError("a fault of ours")
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    printed = capsys.readouterr().err
    assert "Traceback" in printed and "ValueError: a fault of ours" in printed


@pytest.mark.parametrize("kind", [ValueError, CompactHydraException])
def test_user_errors_are_of_the_kinds_that_callers_catch(kind: type[Exception]) -> None:
    assert issubclass(UserError, kind)


def test_importing_the_package_says_nothing() -> None:
    """fairseq's text-to-speech task would recommend a package."""
    process = subprocess.run([sys.executable, "-c", "import fairseq_distil"], capture_output=True, text=True)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("naïve 日本: no such file", "naïve 日本: no such file"),
        ("a\nerror: b\r\t\0", r"a\nerror: b\r\t\x00"),
        ("\x1b[2J\u202e\ud800", r"\x1b[2J\u202e\ud800"),
        ("a" * 2000 + "b", "a" * 500 + " [...] " + "a" * 499 + "b"),
    ],
)
def test_what_is_quoted_from_a_file_stays_in_its_line(message: str, shown: str) -> None:
    assert str(UserError(message)) == shown
