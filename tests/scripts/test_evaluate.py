"""The script as its users meet it: a process, started from any directory."""

import argparse
import json
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "evaluate.py"


@pytest.fixture
def student_path(setup_run: Callable, tmp_path: Path) -> Path:
    run = setup_run({"_name": "distil_encoder", "encoder_layers": 1, "encoder_embed_dim": 12, "max_positions": 17})
    return Path(run.save_checkpoint(tmp_path / "student.pt"))


def test_tables_and_files(
    run_script: Callable, teacher_path: str, student_path: Path, data_with_tokenizer: Path, tmp_path: Path
) -> None:
    models = ["--model", f"teacher={teacher_path}", "--model", f"student={student_path}"]
    report = tmp_path / "report"
    options = ["--data", data_with_tokenizer, "--output", report, "--batch-size", "5", "--sentence", "word1 <mask>"]
    result = run_script(SCRIPT, *models, *options)
    assert result.returncode == 0, result.stderr
    teacher, student = json.loads((report / "report.json").read_text())
    assert (teacher["name"], teacher["layers"], student["name"], student["layers"]) == ("teacher", 3, "student", 1)
    assert teacher["masked_lm"]["reference_agreement"] == 1
    assert list(teacher["fillings"]) == ["word1 <mask>"]
    assert result.stdout == (report / "report.md").read_text()
    bars = [line for line in result.stderr.splitlines() if line]
    assert bars and all(line.startswith("masked LM on valid: ") for line in bars), result.stderr


def test_mistakes_are_one_line_and_status_2(
    run_script: Callable, teacher_path: str, data_with_tokenizer: Path, tmp_path: Path
) -> None:
    result = run_script(SCRIPT, "--model", f"teacher={tmp_path}/absent.pt", "--data", data_with_tokenizer)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"error: {tmp_path}/absent.pt: no such checkpoint\n"

    same_names = ["--model", f"one={teacher_path}", "--model", f"one={teacher_path}"]
    result = run_script(SCRIPT, *same_names, "--data", data_with_tokenizer)
    assert (result.returncode, result.stderr) == (2, "error: --model names must differ, found one, one\n")


def test_a_model_has_a_name_and_a_checkpoint() -> None:
    named_checkpoint = runpy.run_path(str(SCRIPT))["named_checkpoint"]
    assert named_checkpoint("teacher=runs/lr=1/teacher.pt") == ("teacher", Path("runs/lr=1/teacher.pt"))
    for wrong in ("teacher.pt", "=teacher.pt", "teacher="):
        with pytest.raises(argparse.ArgumentTypeError, match=f"'{wrong}' is not NAME=CHECKPOINT"):
            named_checkpoint(wrong)
