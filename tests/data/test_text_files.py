import gzip
import lzma
import os
from pathlib import Path

import pytest

from fairseq_distil.data.text_files import read_documents, read_lines
from fairseq_distil.errors import UserError

TEXT = "\ufeff first line \r\n\r\n\u3000\nzwölf\n\nlast\u2028line"


@pytest.mark.parametrize(("name", "compress"), [("a.txt", bytes), ("a.txt.gz", gzip.compress), ("a.xz", lzma.compress)])
def test_lines_of_plain_and_compressed_files(name: str, compress, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(compress(TEXT.encode()))
    assert list(read_lines(path)) == ["first line", "", "", "zwölf", "", "last\u2028line"]


@pytest.mark.parametrize(("name", "compress"), [("a.txt", bytes), ("a.txt.gz", gzip.compress), ("a.xz", lzma.compress)])
def test_progress_adds_up_to_the_size_of_the_file(name: str, compress, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(compress(b"".join(b"line %d\n" % number for number in range(10_000))))
    reports: list[int] = []
    assert len(list(read_lines(path, reports.append))) == 10_000
    assert len(reports) > 2 and min(reports) >= 0
    assert sum(reports) == path.stat().st_size


def test_documents_end_at_runs_of_blank_lines_and_at_ends_of_files(tmp_path: Path) -> None:
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("\n\na\nb\n \n\n\nc\n")
    second.write_text("d\n\n\n")
    assert list(read_documents([first, second])) == ["a", "b", "", "c", "", "d", ""]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"fine\nno\xff\n", "a.txt, line 2: byte 0xff at column 3 is not valid UTF-8"),
        ("a.txt", b"cut \xe2\x82", "line 1: byte 0xe2 at column 5 is not valid UTF-8"),
        ("a.txt", "é".encode("utf-16"), "line 1: holds a NUL byte; .*UTF-16"),
        ("a.txt", b"a\n\0b\n", "line 2: holds a NUL byte"),
        ("a.txt.gz", b"no gzip", "corrupt .gz file"),
        ("a.txt.gz", gzip.compress(b"a\n" * 9999, mtime=0)[:-9], "corrupt .gz file"),
        ("a.xz", b"no xz", "corrupt .xz file"),
        ("a.xz", lzma.compress(b"a\n" * 9999)[:-9], "corrupt .xz file"),
    ],
)
def test_what_is_no_text_is_named(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(read_lines(tmp_path / name))


def test_damage_inside_a_gzip_file_is_named(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(os.urandom(5000).hex().encode(), mtime=0))
    content[2000] ^= 0xFF
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(UserError, match="a.gz: corrupt .gz file"):
        list(read_lines(tmp_path / "a.gz"))


def test_a_line_without_an_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    """200 KB of a gzip file that are 200 MB of one line."""
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"fine\n") + gzip.compress(b"a" * 10**7) * 20)
    lines = read_lines(tmp_path / "a.gz")
    assert next(lines) == "fine"
    with pytest.raises(UserError, match=r"a.gz, line 2: longer than 67,108,864 bytes; break it up"):
        next(lines)


def test_missing_files_directories_and_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in [("gone", "not found"), (".", "not a regular file"), ("pipe", "not a regular file")]:
        with pytest.raises(UserError, match=message):
            list(read_lines(tmp_path / path))
