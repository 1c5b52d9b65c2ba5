from pathlib import Path

import pytest

from fairseq_distil.errors import UserError
from fairseq_distil.json_file import read_json, read_json_object


def test_content(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(rb'{"a": [1, "\ud83d\ude00", "\\ud800"]}')
    assert read_json(path, "") == read_json_object(path, "") == {"a": [1, "😀", r"\ud800"]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "not valid JSON (Expecting property name"),
        (b"\xff", "not valid JSON ('utf-8' codec can't decode byte 0xff"),
        (b"[" * 100_000, "not valid JSON (nested too deeply)"),
        (b'{"a":' * 100_000, "not valid JSON (nested too deeply)"),
        (rb'["half of a pair: \uD800"]', "not valid JSON ('utf-8' codec can't encode character '\\ud800'"),
        (b'["\xed\xa0\x80"]', "not valid JSON ('utf-8' codec can't decode byte 0xed"),
        ('["half of a pair"]'.encode("utf-16"), "not valid JSON ('utf-8' codec can't decode byte 0xff"),
        (b"9" * 5000, "not valid JSON (Exceeds the limit"),
    ],
)
def test_what_is_no_json(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_json(path, "fetch it again")
    assert str(error.value).startswith(f"{path}: {reason}") and str(error.value).endswith("; fetch it again")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gone.json: no such file; fetch it"):
        read_json(tmp_path / "gone.json", "fetch it")
    with pytest.raises(UserError, match="a directory; fetch it"):
        read_json(tmp_path, "fetch it")


def test_another_kind_of_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(UserError, match="a.json: not a JSON object; fetch it"):
        read_json_object(tmp_path / "a.json", "fetch it")
