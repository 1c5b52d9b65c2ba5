"""The inference benchmark as a command."""

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fairseq_distil.benchmarks.inference_command import parse_options, run
from fairseq_distil.benchmarks.inference_export import exported_runners
from fairseq_distil.benchmarks.inference_models import random_encoder
from fairseq_distil.checkpoints.export_checkpoint import ExportOptions, export_checkpoint
from fairseq_distil.errors import UserError

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_inference.py"
TINY = shlex.split("--rounds 3 --seconds 1 --dtype float32 --batch 1 --batch 2 --device cpu")


def test_random_weights(run_script: Callable) -> None:
    sizes = shlex.split("--layers 2 --width 8 --heads 2 --vocab 30 --length 6 --length 600 --markdown")
    result = run_script(SCRIPT, *TINY, *sizes)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    records = [json.loads(line) for line in lines if line.startswith("{")]
    measured = [record for record in records if "p50_ms" in record]
    kinds = [("PyTorch", "float32"), ("ONNX Runtime", "int8"), ("ONNX Runtime", "float32")]
    assert [(r["model"], r["runtime"], r["dtype"], r["batch"], r["length"]) for r in measured] == [
        *((model, *kinds[0], 1, 6) for model in ("teacher", "student")),
        *((model, *kind, 1, 6) for model in ("teacher", "student") for kind in kinds[1:]),
        *((model, *kinds[0], 2, 6) for model in ("teacher", "student")),
        *((model, *kind, 2, 6) for model in ("teacher", "student") for kind in kinds[1:]),
    ]
    assert {r["outputs"] for r in measured} == {"features", "last_hidden_state"}
    assert all(r["file_mib"] >= 0 for r in measured)
    embeddings, layer, head = (30 + 512) * 8 + 16, 4 * 64 + 4 * 8 + 2 * 256 + 32 + 8 + 4 * 8, 64 + 8 + 16 + 30
    assert {(r["model"], r["runtime"]): r["parameters"] for r in measured} == {
        ("teacher", "PyTorch"): embeddings + 2 * layer + head,
        ("student", "PyTorch"): embeddings + layer + head,
        ("teacher", "ONNX Runtime"): embeddings + 2 * layer,
        ("student", "ONNX Runtime"): embeddings + layer,
    }
    assert sorted(r["claim"] for r in records[len(measured) :]) == ["fewer parameters", *["speed at batch 1"] * 3]
    table = [line for line in lines if line.startswith("|")]
    assert table[0].startswith("| model | runtime |") and len(table) == 2 + 12
    left_out = [f"{model}: left out at length 600, it has fewer positions" for model in ("teacher", "student")]
    assert sorted(result.stderr.splitlines()) == sorted(3 * left_out)


def test_random_weights_where_onnx_runtime_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnxruntime", "fairseq_distil.checkpoints.export_onnx", "fairseq_distil.benchmarks.inference_export"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    run(parse_options([*TINY, *shlex.split("--layers 2 --width 8 --heads 2 --vocab 30 --length 6")]))
    printed = capsys.readouterr()
    assert "ONNX Runtime" not in printed.out and '"runtime": "PyTorch"' in printed.out
    assert printed.err == "left out: ONNX files, for onnxruntime is missing; pip install onnx onnxruntime\n"


def test_random_weights_as_onnx_files_compute_the_same() -> None:
    model = random_encoder(layers=2, width=24, heads=2, vocabulary_size=30).eval()
    ids = torch.arange(4, 16).view(2, 6)
    for outputs in ("features", "logits"):
        runners = {runner.dtype: runner for runner in exported_runners("teacher", model, outputs)}
        assert runners["float32"].file_mib > runners["int8"].file_mib > 0
        with torch.inference_mode():
            expected = model(ids, features_only=outputs == "features")[0]
        torch.testing.assert_close(torch.from_numpy(runners["float32"].run(ids)[0]), expected, atol=1e-5, rtol=1e-5)


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
