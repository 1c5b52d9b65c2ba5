import dataclasses
import json
from pathlib import Path

import pytest

from fairseq_distil.evaluation import MaskedLMResult, ModelReport
from fairseq_distil.evaluation.report import markdown, write_report
from fairseq_distil.hub_interface import Filling

SENTENCE = "one <mask> three"
TEACHER = ModelReport(
    name="teacher",
    layers=12,
    parameters=1234567,
    megabytes=4.94,
    latency=0.00604,
    masked_lm=MaskedLMResult(perplexity=12.345, accuracy=0.5, reference_agreement=1.0),
    fillings={SENTENCE: [Filling("two", 0.754, "one two three"), Filling("|", 0.1, "one | three")]},
)
STUDENT = ModelReport(
    name="student|small",
    layers=6,
    parameters=700,
    megabytes=0.25,
    latency=0.00302,
    masked_lm=MaskedLMResult(perplexity=20.0, accuracy=0.4321, reference_agreement=0.789),
    fillings={SENTENCE: [Filling("zwölf", 0.2, "one zwölf three"), Filling("a", 0.004, "one a three")]},
)


def rows(table: str) -> list[list[str]]:
    """Cells of a Markdown table; bars that are escaped are none of its own."""
    lines = table.replace(r"\|", "BAR").splitlines()
    return [[cell.strip().replace("BAR", "|") for cell in line.strip("|").split("|")] for line in lines]


def test_markdown() -> None:
    models, sentence, fillings = markdown([TEACHER, STUDENT]).split("\n\n")
    assert [row for row in rows(models) if not row[0].startswith("--")] == [
        ["model", "layers", "parameters", "size (MB)", "latency (ms)", "speed-up"]
        + ["MLM perplexity", "MLM accuracy", "agreement with teacher"],
        ["teacher", "12", "1,234,567", "4.9", "6.04", "1.00x", "12.35", "50.0%", "100.0%"],
        ["student|small", "6", "700", "0.2", "3.02", "2.00x", "20.00", "43.2%", "78.9%"],
    ]
    assert sentence == SENTENCE
    assert [row for row in rows(fillings) if not row[0].startswith("--")] == [
        ["teacher", "student|small"],
        ["two 75%", "zwölf 20%"],
        ["| 10%", "a 0%"],
    ]


@pytest.mark.parametrize("table", markdown([TEACHER, STUDENT]).split("\n\n")[::2])
def test_every_row_of_a_table_has_its_bars_at_the_same_places(table: str) -> None:
    header, rule, *others = table.replace(r"\|", "\\.").splitlines()
    assert set(rule) == {"|", "-"}
    bars = [[place for place, character in enumerate(line) if character == "|"] for line in (header, rule, *others)]
    assert all(line == bars[0] for line in bars)


def test_without_sentences_there_is_one_table() -> None:
    report = ModelReport("only", 1, 2, 3.0, 0.004, MaskedLMResult(5.0, 0.6, 1.0), fillings={})
    assert "\n\n" not in markdown([report])


def test_written_files(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "report"
    write_report([TEACHER, STUDENT], directory)
    assert {path.name for path in directory.iterdir()} == {"report.md", "report.json"}
    assert (directory / "report.md").read_text(encoding="utf-8") == markdown([TEACHER, STUDENT]) + "\n"
    teacher, student = json.loads((directory / "report.json").read_text(encoding="utf-8"))
    assert teacher == {
        "name": "teacher",
        "layers": 12,
        "parameters": 1234567,
        "megabytes": 4.94,
        "latency": 0.00604,
        "masked_lm": {"perplexity": 12.345, "accuracy": 0.5, "reference_agreement": 1.0},
        "fillings": {
            SENTENCE: [
                {"token": "two", "probability": 0.754, "sentence": "one two three"},
                {"token": "|", "probability": 0.1, "sentence": "one | three"},
            ]
        },
    }
    assert student["fillings"][SENTENCE][0]["token"] == "zwölf"


def test_a_report_replaces_an_older_one(tmp_path: Path) -> None:
    write_report([TEACHER, STUDENT], tmp_path)
    write_report([STUDENT], tmp_path)
    assert [report["name"] for report in json.loads((tmp_path / "report.json").read_text())] == ["student|small"]


def test_a_report_that_cannot_be_written_leaves_the_older_one(tmp_path: Path) -> None:
    write_report([TEACHER], tmp_path)
    with pytest.raises(UnicodeEncodeError):
        write_report([dataclasses.replace(STUDENT, name="\ud800")], tmp_path)
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == markdown([TEACHER]) + "\n"
