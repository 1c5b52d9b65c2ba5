"""The inference benchmark as a command."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from fairseq_distil.benchmarks.inference_command import parse_options, run
from fairseq_distil.checkpoints.export_checkpoint import ExportOptions, export_checkpoint
from fairseq_distil.errors import UserError

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_inference.py"
TINY = shlex.split("--rounds 3 --seconds 1 --dtype float32 --batch 1 --batch 2 --device cpu")


def test_random_weights(run_script: Callable) -> None:
    sizes = shlex.split("--layers 2 --width 8 --heads 2 --vocab 30 --length 6 --length 600 --markdown")
    result = run_script(SCRIPT, *TINY, *sizes)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    records = [json.loads(line) for line in lines[:6]]
    assert [(r["model"], r["batch"], r["length"]) for r in records[:4]] == [
        ("teacher", 1, 6),
        ("student", 1, 6),
        ("teacher", 2, 6),
        ("student", 2, 6),
    ]
    assert [r["claim"] for r in records[4:]] == ["fewer parameters", "speed at batch 1"]
    assert lines[6].startswith("| model | runtime |") and len(lines) == 6 + 2 + 4
    assert result.stderr == (
        "teacher: left out at length 600, it has fewer positions\n"
        "student: left out at length 600, it has fewer positions\n"
    )


def test_checkpoints(teacher_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    models = ["--model", f"one={teacher_path}", "--model", f"two={teacher_path}"]
    run(parse_options([*TINY, *models, "--length", "5", "--outputs", "logits"]))
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    claim = next(record for record in records if record.get("claim") == "fewer parameters")
    assert (claim["model"], claim["than"], claim["measured"], claim["met"]) == ("two", "one", 0, False)


def test_nothing_to_measure(teacher_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="^nothing was measured, for no model has as many positions as --length"):
        run(parse_options([*TINY, "--model", f"one={teacher_path}", "--length", "20"]))
    assert "one: left out at length 20, it has fewer positions" in capsys.readouterr().err


def test_onnx_files_of_our_own_export(
    teacher_path: str, data_with_tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A directory with a config.json, but without weights of transformers; each type is compared with its like."""
    export = ExportOptions(format="onnx", int8=True, head="encoder")
    export_checkpoint(Path(teacher_path), data_with_tokenizer, tmp_path / "onnx", export)
    models = [f"--model={name}={tmp_path / 'onnx'}" for name in ("one", "two")]
    run(parse_options([*TINY, *models, "--length", "5"]))
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    measured = {(r["model"], r["runtime"], r["dtype"], r["batch"]) for r in records if "p50_ms" in r}
    types = ("float32", "int8")
    assert measured == {
        (model, "ONNX Runtime", t, batch) for model in ("one", "two") for t in types for batch in (1, 2)
    }
    speeds = [record for record in records if record.get("claim") == "speed at batch 1"]
    assert sorted((r["model"], r["than"], r["dtype"]) for r in speeds) == [("two", "one", t) for t in types]


def test_mistakes_are_one_line_and_status_2(run_script: Callable, tmp_path: Path) -> None:
    result = run_script(SCRIPT, "--model", f"one={tmp_path}/absent.pt")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"error: {tmp_path}/absent.pt: no such file or directory\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "a=b.pt", "--model", "a=c.pt"], "--model names must differ, found a, a"),
        (["--batch", "0"], "--batch is 0, but must be at least 1"),
        (["--layers", "1"], "--layers is 1, but must be at least 2"),
        (["--seconds", "nan"], "--seconds is nan, but must be a number of seconds"),
        (["--seconds", "-1"], "--seconds is -1.0, but must be a number of seconds"),
        (["--rounds", "0"], "--rounds is 0, but must be at least 1"),
        (["--batch", "99999999999"], "--batch is 99999999999, but must be at most 16777216"),
        (["--heads", "5"], "5 attention heads do not divide the width 768"),
        (["--device", "nowhere"], "--device nowhere: "),
    ],
)
def test_wrong_options(options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(parse_options(options))
