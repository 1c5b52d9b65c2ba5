"""Percentiles and claims on fixed numbers, and models of every kind."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch

from fairseq_distil.benchmarks.inference import (
    claims,
    latency_record,
    markdown,
    measure_latencies,
    ordinary_ids,
    percentile,
)
from fairseq_distil.benchmarks.inference_command import require_no_onnx
from fairseq_distil.benchmarks.inference_models import encoder_runners, load_runners, random_encoder
from fairseq_distil.benchmarks.inference_onnx import OnnxGraph, load_onnx
from fairseq_distil.errors import UserError


def test_percentiles() -> None:
    values = [float(n) for n in range(20, 0, -1)]
    assert percentile(values, 95) == 19
    assert percentile(values, 50) == 10
    assert percentile([3.0], 95) == 3


def row(model: str, p50: float, parameters: int | None, **others: object) -> dict:
    shape = {"runtime": "PyTorch", "dtype": "float32", "batch": 1, "length": 8}
    return {"model": model, "p50_ms": p50, "parameters": parameters, **shape, **others}


def test_claims() -> None:
    records = [
        row("teacher", 30.0, 100),
        row("student", 15.0, 60),
        row("teacher", 80.0, 100, length=16),
        row("student", 60.0, 60, length=16),
        row("teacher", 90.0, 100, batch=32),
        row("student", 10.0, 60, batch=32),
        row("graph", 1.0, None, runtime="ONNX Runtime"),
    ]
    shape = {"runtime": "PyTorch", "dtype": "float32"}
    names = {"model": "student", "than": "teacher"}
    assert claims(records) == [
        {"claim": "fewer parameters", **names, "measured": 0.4, "at_least": 0.4, "met": True},
        {"claim": "speed at batch 1", **names, "measured": 2.0, "at_least": 1.6, "met": True, **shape, "length": 8},
        {
            "claim": "speed at batch 1",
            **names,
            "measured": 1.3333,
            "at_least": 1.6,
            "met": False,
            **shape,
            "length": 16,
        },
    ]


def test_ids_are_ordinary() -> None:
    ids = ordinary_ids(batch=3, length=7, vocabulary_size=12)
    assert ids.shape == (3, 7)
    assert ids.min() == 4 and ids.max() == 10


def test_random_encoders_in_every_type() -> None:
    model = random_encoder(layers=2, width=8, heads=2, vocabulary_size=20)
    runners = list(encoder_runners("teacher", model, ["float32", "bfloat16"], "features", "cpu"))
    # embeddings 20 x 8 and 512 x 8, two layers of 872, head 88 + 20, LayerNorms 16 of the embeddings
    parameters = 160 + 4096 + 16 + 2 * (4 * 64 + 4 * 8 + 2 * 256 + 32 + 8 + 4 * 8) + (64 + 8 + 16 + 20)
    assert [runner.parameters for runner in runners] == [parameters] * 2
    assert runners[0].file_mib == 2 * runners[1].file_mib == 4 * parameters / 2**20
    records = measure_latencies(runners, batch=2, length=6, rounds=4, seconds=60, device="cpu")
    assert [(r["dtype"], r["batch"], r["length"], r["rounds"]) for r in records] == [
        ("float32", 2, 6, 4),
        ("bfloat16", 2, 6, 4),
    ]
    assert all(0 < r["p50_ms"] <= r["p95_ms"] for r in records)


def test_no_time_is_three_rounds() -> None:
    runners = list(encoder_runners("one", random_encoder(1, 4, 1, 10), ["float32"], "logits", "cpu"))
    (record,) = measure_latencies(runners, batch=1, length=3, rounds=50, seconds=0, device="cpu")
    assert record["rounds"] == 3


def test_a_checkpoint(teacher_path: str) -> None:
    (runner,) = load_runners("teacher", Path(teacher_path), ["float32"], "logits", "cpu")
    assert (runner.vocabulary_size, runner.max_positions) == (46, 19)
    with torch.inference_mode():
        logits, _ = runner.run(torch.full((2, 5), 7))
    assert logits.shape == (2, 5, 46)
    assert runner.allows(19) and not runner.allows(20)


def test_a_directory_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.DistilBertConfig(vocab_size=30, dim=8, n_layers=1, n_heads=2, hidden_dim=16)
    transformers.DistilBertForMaskedLM(config).save_pretrained(tmp_path)
    (runner,) = load_runners("peer", tmp_path, ["float32"], "logits", "cpu")
    assert (runner.runtime, runner.vocabulary_size, runner.max_positions) == ("transformers", 30, 512)
    assert runner.run(torch.full((2, 5), 7)).logits.shape == (2, 5, 30)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"dim": "x"}, "Validation error for field 'dim': TypeError: Field 'dim' expected int, got str"),
        ({"n_heads": 0}, "integer modulo by zero"),
        ({"dim": -3}, "negative dimension -3"),
        ({"pad_token_id": 99}, "Padding_idx must be within num_embeddings"),
    ],
)
def test_a_configuration_that_makes_no_sense(changed: dict, reason: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.DistilBertConfig(vocab_size=30, dim=8, n_layers=1, n_heads=2, hidden_dim=16)
    transformers.DistilBertForMaskedLM(config).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict() | changed))
    with pytest.raises(UserError, match=f"^{tmp_path}: transformers cannot load it: .*{reason}"):
        list(load_runners("peer", tmp_path, ["float32"], "features", "cpu"))


def test_an_onnx_graph_gets_what_it_asks_for() -> None:
    fed = {}

    class Session:
        def get_inputs(self) -> list:
            types = {"input_ids": "tensor(int64)", "attention_mask": "tensor(int32)"}
            return [SimpleNamespace(name=name, type=dtype) for name, dtype in types.items()]

        def get_outputs(self) -> list:
            return [SimpleNamespace(name="logits")]

        def run(self, names: None, feeds: dict) -> list:
            fed.update(feeds)
            return [feeds["input_ids"]]

    graph = OnnxGraph(Session(), "float32")
    graph.run(torch.tensor([[4, 5]]))
    assert graph.outputs == ["logits"]
    np.testing.assert_array_equal(fed["input_ids"], [[4, 5]])
    np.testing.assert_array_equal(fed["attention_mask"], [[1, 1]])
    assert {name: array.dtype for name, array in fed.items()} == {"input_ids": np.int64, "attention_mask": np.int32}


def save_graph(path: Path, nodes: list[tuple[str, str, str]], **attributes: int) -> None:
    """Write nodes of ``(operation, input, outputs)`` that make ``found`` of the ids, all attributes with the first."""
    made = [
        onnx.helper.make_node(operation, [taken], given.split(), **(attributes if number == 0 else {}))
        for number, (operation, taken, given) in enumerate(nodes)
    ]
    ids = onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["batch", "length"])
    found = onnx.helper.make_empty_tensor_value_info("found")
    graph = onnx.helper.make_graph(made, "small", [ids], [found])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8), path)


def test_threads_of_an_onnx_model_do_not_spin_in_the_turn_of_another(tmp_path: Path) -> None:
    save_graph(tmp_path / "model.onnx", [("Identity", "input_ids", "found")])
    loaded = load_onnx(tmp_path / "model.onnx", threads=2)
    assert loaded.session.get_session_options().get_session_config_entry("session.force_spinning_stop") == "1"
    np.testing.assert_array_equal(loaded.run(torch.tensor([[4, 5]])), [[[4, 5]]])


def test_the_type_of_a_graph_is_what_it_does_not_how_its_file_is_called(tmp_path: Path) -> None:
    quantized = [("Cast", "input_ids", "numbers"), ("DynamicQuantizeLinear", "numbers", "found scale zero")]
    save_graph(tmp_path / "fast.onnx", quantized, to=onnx.TensorProto.FLOAT)
    save_graph(tmp_path / "not_int8.onnx", [("Identity", "input_ids", "found")])
    runners = list(load_runners("graphs", tmp_path, [], "features", "cpu"))
    assert [(runner.name, runner.dtype) for runner in runners] == [("graphs", "int8"), ("graphs", "float32")]
    save_graph(tmp_path / "other.onnx", [("Identity", "input_ids", "found")])
    names = [runner.name for runner in load_runners("graphs", tmp_path, [], "features", "cpu")]
    assert names == ["graphs", "graphs not_int8.onnx", "graphs other.onnx"]


def test_a_model_that_does_not_take_the_ids(tmp_path: Path) -> None:
    """RoBERTa counts two positions that no token can have, and a pooler is no part of what is compared."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.RobertaConfig(vocab_size=30, max_position_embeddings=8, **sizes)
    model = transformers.RobertaModel(config)
    model.save_pretrained(tmp_path)
    (runner,) = load_runners("peer", tmp_path, ["float32"], "features", "cpu")
    assert runner.parameters == sum(p.numel() for p in model.parameters()) - 8 * 8 - 8
    measure_latencies([runner], batch=1, length=6, rounds=1, seconds=0, device="cpu")
    with pytest.raises(UserError, match="^peer: cannot run 1 x 8 tokens: "):
        measure_latencies([runner], batch=1, length=8, rounds=1, seconds=0, device="cpu")


def test_onnx_does_not_run_on_a_gpu(tmp_path: Path) -> None:
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs" / "model.int8.onnx").touch()
    for path in (tmp_path / "graphs", tmp_path / "one.onnx"):
        with pytest.raises(UserError, match=f"{path}: ONNX files run on the CPU here; measure them with --device cpu"):
            require_no_onnx([tmp_path / "teacher.pt", path])
    require_no_onnx([tmp_path, tmp_path / "teacher.pt"])


def test_what_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(path: Path) -> list:
        return list(load_runners("x", path, ["float32"], "features", "cpu"))

    with pytest.raises(UserError, match=f"{tmp_path}/absent.pt: no such file or directory"):
        load(tmp_path / "absent.pt")
    with pytest.raises(UserError, match=f"{tmp_path}: holds neither ONNX files nor a config.json"):
        load(tmp_path)
    (tmp_path / "text.pt").write_text("text")
    with pytest.raises(UserError, match=f"{tmp_path}/text.pt: "):
        load(tmp_path / "text.pt")
    (tmp_path / "model.onnx").write_text("text")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(UserError, match=f"{tmp_path}/model.onnx: ONNX Runtime is not installed"):
        load(tmp_path)


def test_table() -> None:
    runner = SimpleNamespace(
        name="student", runtime="PyTorch", dtype="float32", outputs="logits", parameters=1200, file_mib=0.25
    )
    record = latency_record(runner, batch=1, length=8, seconds=[0.001, 0.003, 0.002])
    assert markdown([record, {**record, "parameters": None}]).splitlines()[1:] == [
        "|---|---|---|---|---:|---:|---:|---:|---:|---:|",
        "| student | PyTorch | float32 | logits | 1 | 8 | 2.0 | 3.0 | 1,200 | 0.2 |",
        "| student | PyTorch | float32 | logits | 1 | 8 | 2.0 | 3.0 |  | 0.2 |",
    ]
