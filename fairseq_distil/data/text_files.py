"""Reading corpora: plain, gzip or xz text, one passage a line, blank lines between documents."""

import gzip
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from fairseq_distil.errors import UserError

BYTE_ORDER_MARK = "\ufeff"
LINES_BETWEEN_REPORTS = 1000
LONGEST_LINE = 2**26
"""Bytes. What is compressed can hold a line that is a thousand times longer than the file."""

Report = Callable[[int], None]
"""Called with the bytes of a file that were read since the last call, compressed as they are."""


def read_lines(path: Path, report: Report | None = None) -> Iterator[str]:
    """The lines of a text file, without white space at their ends; see :func:`read_whole_lines`."""
    return map(str.strip, read_whole_lines(path, report))


def read_whole_lines(path: Path, report: Report | None = None) -> Iterator[str]:
    """The lines of a text file (``.gz`` and ``.xz`` are decompressed), without the characters that end them.

    Args:
        path: the file
        report: for a progress bar

    Raises:
        UserError: the file is missing, not a regular file, corrupt, or holds a line that is not UTF-8 text or
            beyond all reason
    """
    require_text_file(path)
    try:
        with path.open("rb") as raw, _decompressed(raw, path.suffix) as file:
            reported = 0
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), start=1):
                if len(line) > LONGEST_LINE:
                    raise UserError(f"{path}, line {number}: longer than {LONGEST_LINE:,} bytes; break it up")
                yield _decode(line, path, number)
                if report and number % LINES_BETWEEN_REPORTS == 0:
                    position = raw.tell()
                    report(position - reported)
                    reported = position
            if report:
                report(raw.tell() - reported)
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{path}: corrupt {path.suffix} file ({error}); fetch or compress it again") from None


def require_text_file(path: Path) -> None:
    """Raise a UserError unless this is a file that can be read more than once."""
    if not path.is_file():
        problem = "not a regular file, and it has to be read several times" if path.exists() else "not found"
        raise UserError(f"{path}: {problem}; give a text file, plain, .gz or .xz")


def read_documents(paths: Iterable[Path], report: Report | None = None) -> Iterator[str]:
    """The text lines of all files; after the last line of each document one empty string.

    Documents end at blank lines, however many, and at the end of a file. For ``report`` see :func:`read_lines`.
    """
    for path in paths:
        inside_document = False
        for line in read_lines(path, report):
            if line or inside_document:
                yield line
            inside_document = bool(line)
        if inside_document:
            yield ""


def _decompressed(raw: BinaryIO, suffix: str) -> BinaryIO:
    if suffix == ".gz":
        return gzip.open(raw, "rb")
    if suffix == ".xz":
        return lzma.open(raw, "rb")
    return raw


def _decode(line: bytes, path: Path, number: int) -> str:
    if b"\0" in line:
        raise UserError(f"{path}, line {number}: holds a NUL byte; expected text in UTF-8 (is it UTF-16, or binary?)")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise UserError(
            f"{path}, line {number}: byte 0x{byte:02x} at column {error.start + 1} is not valid UTF-8; "
            "convert the file to UTF-8"
        ) from None
    return (text.removeprefix(BYTE_ORDER_MARK) if number == 1 else text).rstrip("\r\n")
