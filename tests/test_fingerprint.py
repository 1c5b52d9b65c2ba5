"""Files and directories that are told apart."""

from pathlib import Path

from fairseq_distil.fingerprint import digest


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"contents")
    (tmp_path / "y").write_bytes(b"contents")
    (tmp_path / "z").write_bytes(b"other contents")
    assert digest(tmp_path / "x") == digest(tmp_path / "y") != digest(tmp_path / "z")


def test_a_directory_is_the_names_and_contents_of_those_that_match(tmp_path: Path) -> None:
    def fill(name: str, **files: str) -> Path:
        (tmp_path / name / "deep").mkdir(parents=True)
        for file, text in files.items():
            (tmp_path / name / "deep" / file.replace("_", ".")).write_text(text)
        return tmp_path / name

    plain, compiled = fill("plain", a_py="1", b_py="2"), fill("compiled", a_py="1", b_py="2", a_pyc="3")
    renamed, changed = fill("renamed", a_py="1", c_py="2"), fill("changed", a_py="1", b_py="3")
    assert digest(plain, "*.py") == digest(compiled, "*.py") == digest(plain)
    assert len({digest(directory) for directory in (plain, compiled, renamed, changed)}) == 4
