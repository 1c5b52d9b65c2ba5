"""The quickstart's own text."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"
COLLECT = QUICKSTART / "collect_documentation.py"
PROSE = "Return the sum of all the numbers that were given to it."

collect_documentation = runpy.run_path(str(COLLECT))
paragraphs, prose_of = collect_documentation["paragraphs"], collect_documentation["prose_of"]


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        (PROSE, [PROSE]),
        ("Return the sum of all\n    the numbers that were   given to it.\n", [PROSE]),
        (f"{PROSE}\n\n{PROSE.lower()}\n  \n", [PROSE, PROSE.lower()]),
        ("Return the sum of seven words only.", []),
        (f"{PROSE}\n\n>>> add(one, two, three, four, five, six, seven, eight)\nnine", [PROSE]),
        ("Parameters\n----------\nthe numbers that were given to it and to all of the others", []),
        ("a_1 b_2 c_3 d_4 the sum of all of the numbers", []),  # 7 words of 11
        ("a_1 b_2 c_3 the sum of all of the numbers", [  # 7 words of 10
            "a_1 b_2 c_3 the sum of all of the numbers"]),
        ("Return the \x00 sum of all the numbers that were given to it.", []),
        ("", []),
    ],
)  # fmt: skip
def test_paragraphs(docstring: str, expected: list[str]) -> None:
    assert list(paragraphs(docstring)) == expected


def test_prose_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        f'''"""{PROSE} Module."""
text = """{PROSE} No docstring."""


class Sum:
    """{PROSE} Class.

    too short
    """

    async def add(self):
        """{PROSE} Method."""


def bare():
    return 1
'''
    )
    assert prose_of(file) == [f"{PROSE} {kind}." for kind in ("Module", "Class", "Method")]


@pytest.mark.parametrize("content", [b"def broken(:\n", b"\xff\xfe", b"\x00", b"", b'"""\\ud800"""'])
def test_a_file_without_prose(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "module.py"
    file.write_bytes(content)
    assert prose_of(file) == []
    assert prose_of(tmp_path / "absent.py") == []


def test_source_files_leave_tests_out() -> None:
    files = collect_documentation["source_files"]()
    assert Path(runpy.__file__) in files
    assert files == sorted(files)
    assert not [file for file in files if "tests" in file.parts or "_vendor" in file.parts]


def test_collected_text(run_script: Callable, tmp_path: Path) -> None:
    output = tmp_path / "text.txt"
    result = run_script(COLLECT, "--most-words", "700", "--output", output)
    assert result.returncode == 0, result.stderr
    text = output.read_text(encoding="utf-8")
    assert result.stdout == f"{len(text.split()):,} words in {output}\n"
    assert 700 <= len(text.split()) < 20_000
    assert {path.name for path in tmp_path.iterdir()} == {"text.txt"}

    assert text.endswith("\n\n") and not text.startswith("\n")
    modules = [module.split("\n") for module in text.removesuffix("\n\n").split("\n\n")]
    lines = [line for module in modules for line in module]
    assert len(set(lines)) == len(lines)
    assert all(list(paragraphs(line)) == [line] for line in lines)


def test_existing_output_is_refused(run_script: Callable, tmp_path: Path) -> None:
    output = tmp_path / "text.txt"
    output.write_text("mine")
    result = run_script(COLLECT, "--output", output)
    assert result.returncode == 2
    assert result.stderr == f"error: {output} exists already; remove it or choose another --output\n"
    assert output.read_text() == "mine"
