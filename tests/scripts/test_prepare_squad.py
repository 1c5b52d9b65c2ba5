"""The script, in this process."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "prepare_squad.py"


@pytest.fixture
def prepare(data_with_tokenizer: Path, tmp_path: Path) -> Callable[..., int]:
    main = runpy.run_path(str(SCRIPT))["main"]

    def run(*arguments: Any) -> int:
        common = ["--data", data_with_tokenizer, "--output", tmp_path / "out", "--workers", 1]
        return main([str(argument) for argument in [*common, *arguments]])

    return run


@pytest.fixture
def with_wrong_start(squad_content: dict, tmp_path: Path) -> Path:
    """The first answer is at another place than it says."""
    content = json.loads(json.dumps(squad_content))
    content["data"][0]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = 1
    path = tmp_path / "wrong_start.json"
    path.write_text(json.dumps(content))
    return path


def test_what_it_says(
    prepare: Callable, squad_file: Path, with_wrong_start: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    sizes = ["--length", 16, "--stride", 5, "--question-length", 3]
    assert prepare("--train", with_wrong_start, "--valid", squad_file, *sizes) == 0
    train, valid, total = capsys.readouterr().out.splitlines()
    assert train == (
        "train: 18 questions, 34 windows of at most 16 tokens, 527 tokens; 1 with an answer that is not at "
        "answer_start, left out"
    )
    assert valid == "valid: 18 questions, 36 windows of at most 16 tokens, 558 tokens"
    assert total.startswith(f"{tmp_path / 'out'}: ")
    assert prepare("--valid", squad_file) == 2
    assert f"{tmp_path / 'out'}: exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "neither --train nor --valid is given"),
        (["--valid", "gone.json"], "gone.json: no such file"),
        (["--valid", "SQUAD", "--stride", 0], "--stride is 0"),
        (["--valid", "SQUAD", "--length", 20], "--length is 20: no room for a context"),
        (["--valid", "SQUAD", "--workers", 0], "--workers is 0"),
        (["--valid", "SQUAD", "--data", "TMP"], "fairseq_distil_tokenizer.json: no such file"),
        (["--valid", "SQUAD", "--train", "BAD"], "bad.json: question q7: an answer: expected a number under"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    prepare: Callable, squad_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list, message: str
) -> None:
    bad = tmp_path / "bad.json"
    question = {"id": "q7", "question": "?", "answers": [{"text": "x"}]}
    bad.write_text(json.dumps({"data": [{"paragraphs": [{"context": "x", "qas": [question]}]}]}))
    paths = {"SQUAD": squad_file, "BAD": bad, "TMP": tmp_path}
    assert prepare(*[paths.get(argument, argument) for argument in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line
    assert {path.name for path in tmp_path.iterdir()} == {"bad.json"}
