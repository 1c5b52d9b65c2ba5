"""ONNX files in ONNX Runtime: any batch and length, every head, and int8 within its bound."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from omegaconf import OmegaConf

from fairseq_distil.checkpoints.export_checkpoint import ExportOptions, export
from fairseq_distil.checkpoints.exportable import Exportable
from fairseq_distil.criterions import DistillationConfig
from fairseq_distil.errors import UserError

HEADS = {
    "masked-lm": {},
    "encoder": {"head": "encoder"},
    "rating": {"classes": {"rating": 3}},
    "score": {"classes": {"score": 1}},
    "question-answering": {"answers": True},
}
SHAPES = [(1, 1), (1, 2), (1, 90), (2, 7), (5, 33)]


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def write(exportable: Exportable, output: Path, int8: bool = False) -> Path:
    export(exportable, output, ExportOptions(format="onnx", int8=int8))
    return output


def random_inputs(batch: int, length: int, vocabulary_size: int) -> dict[str, np.ndarray]:
    """The first sequence whole, the others padded; padding has any id, for the mask alone counts."""
    generator = np.random.default_rng(batch * length)
    lengths = [length, *generator.integers(1, length + 1, batch - 1)]
    mask = (np.arange(length) < np.array(lengths)[:, None]).astype(np.int64)
    ids = generator.integers(0, vocabulary_size, (batch, length))
    return {"input_ids": ids, "attention_mask": mask}


def our_outputs(exportable: Exportable, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    ids, model = torch.tensor(exportable.ids), exportable.model
    tokens = ids[torch.from_numpy(inputs["input_ids"])]
    tokens[torch.from_numpy(inputs["attention_mask"]) == 0] = exportable.dictionary.pad()
    outputs = exportable.outputs(tokens)
    if exportable.head.kind == "masked-lm":
        outputs["logits"] = outputs["logits"][..., ids]
    assert model.training is False
    return [output.numpy() for output in outputs.values()]


def attended(output: np.ndarray, inputs: dict[str, np.ndarray], exportable: Exportable) -> np.ndarray:
    return output if exportable.head.kind == "classification" else output[inputs["attention_mask"].astype(bool)]


@pytest.mark.parametrize("head", HEADS)
def test_any_shape(make_exportable: Callable, tmp_path: Path, head: str) -> None:
    exportable = make_exportable(order=lambda symbols: symbols[::-1], **HEADS[head])
    onnx_session = session(write(exportable, tmp_path / "out") / "model.onnx")
    padding = exportable.dictionary.pad()
    for shape in SHAPES:
        inputs = random_inputs(*shape, len(exportable.ids))
        inputs["input_ids"][inputs["input_ids"] == exportable.ids.index(padding)] = 5  # ours takes it for padding
        expected = our_outputs(exportable, inputs)
        found = onnx_session.run(None, inputs)
        for ours, theirs in zip(expected, found, strict=True):
            assert theirs.shape == ours.shape
            ours, theirs = (attended(output, inputs, exportable) for output in (ours, theirs))
            np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5 * max(1, np.abs(ours).max()))


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu", "silu"])
def test_activations_and_epsilons(make_exportable: Callable, tmp_path: Path, activation: str) -> None:
    """The export itself compares, and would refuse."""
    exportable = make_exportable(activation=activation, layer_norm_epsilon=1e-2, max_positions=1 + 8)
    assert (write(exportable, tmp_path / "out") / "model.onnx").is_file()


@pytest.mark.parametrize(
    ("head", "outputs"),
    [
        ("masked-lm", {"logits": ["batch", "length", 19]}),
        ("encoder", {"last_hidden_state": ["batch", "length", 12]}),
        ("rating", {"logits": ["batch", 3]}),
        ("question-answering", {"start_logits": ["batch", "length"], "end_logits": ["batch", "length"]}),
    ],
)
def test_names_and_shapes(make_exportable: Callable, tmp_path: Path, head: str, outputs: dict) -> None:
    """Those that Optimum gives and expects."""
    directory = write(make_exportable(**HEADS[head]), tmp_path / "out", int8=True)
    for name in ("model.onnx", "model.int8.onnx"):
        values = session(directory / name)
        assert {value.name: value.shape for value in values.get_inputs()} == {
            "input_ids": ["batch", "length"],
            "attention_mask": ["batch", "length"],
        }
        assert {value.type for value in values.get_inputs()} == {"tensor(int64)"}
        assert {value.name: value.shape for value in values.get_outputs()} == outputs
        onnx.checker.check_model(directory / name, full_check=True)
    files = {path.name for path in directory.iterdir()}
    assert {"config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "README.md"} <= files
    assert "model.safetensors" not in files


def test_tied_embeddings_are_stored_once(make_exportable: Callable, tmp_path: Path) -> None:
    exportable = make_exportable()
    graph = onnx.load(write(exportable, tmp_path / "out") / "model.onnx").graph
    parameters = sum(parameter.numel() for parameter in exportable.model.parameters())
    stored = [weight for weight in graph.initializer if ":" not in weight.name]  # others are small constants
    assert sum(int(np.prod(weight.dims)) for weight in stored) == parameters
    assert {node.domain for node in graph.node} == {""}


def test_large_weights_go_to_a_file_of_their_own(
    make_exportable: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fairseq_distil.checkpoints.export_onnx.LARGEST_FILE", 1000)
    directory = write(make_exportable(), tmp_path / "out")
    assert (directory / "model.onnx_data").stat().st_size > 7_000
    assert len(session(directory / "model.onnx").get_outputs()) == 1


@pytest.mark.parametrize("head", HEADS)
def test_int8(make_exportable: Callable, tmp_path: Path, head: str) -> None:
    sizes = {"width": 64, "feed_forward_width": 256, "attention_heads": 4}
    exportable = make_exportable(order=lambda symbols: symbols[::-1], spread=0.1, **HEADS[head], **sizes)
    directory = write(exportable, tmp_path / "out", int8=True)
    sizes = {name: (directory / name).stat().st_size for name in ("model.onnx", "model.int8.onnx")}
    assert sizes["model.int8.onnx"] < 0.45 * sizes["model.onnx"]  # positions, which stay float32, are a share here
    inputs = random_inputs(4, 20, len(exportable.ids))
    float_outputs, int8_outputs = (session(directory / name).run(None, inputs) for name in sizes)
    for expected, found in zip(float_outputs, int8_outputs, strict=True):
        expected, found = (attended(output, inputs, exportable).ravel() for output in (expected, found))
        assert np.dot(expected, found) / np.linalg.norm(expected) / np.linalg.norm(found) > 0.99
        assert not np.array_equal(expected, found)


def test_int8_outputs_do_not_depend_on_the_rest_of_the_batch(make_exportable: Callable, tmp_path: Path) -> None:
    exportable = make_exportable(head="encoder")
    int8 = session(write(exportable, tmp_path / "out", int8=True) / "model.int8.onnx")
    inputs = random_inputs(4, 20, len(exportable.ids))
    (together,) = int8.run(None, inputs)
    for index, length in enumerate(inputs["attention_mask"].sum(1)):
        (alone,) = int8.run(None, {name: value[index : index + 1, :length] for name, value in inputs.items()})
        np.testing.assert_allclose(alone[0], together[index, :length], rtol=1e-4, atol=1e-4)


def test_int8_that_loses_too_much_is_not_written(
    make_exportable: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fairseq_distil.checkpoints.onnx_int8_builder.LARGEST_WEIGHT", 1)  # three values a weight
    with pytest.raises(UserError, match=r"out: int8 weights lose too much: cosine of the outputs 0\.\d+, .*leave out"):
        write(make_exportable(), tmp_path / "out", int8=True)
    assert not any("out" in path.name for path in tmp_path.iterdir())


def test_a_difference_is_found(make_exportable: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairseq_distil.checkpoints.export_check.TOLERANCE", -1.0)
    with pytest.raises(UserError, match="out: the outputs of ONNX Runtime differ by .* nothing was written"):
        write(make_exportable(), tmp_path / "out")
    assert not any("out" in path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize("format_", ["transformers", "onnx"])
@pytest.mark.parametrize("head", HEADS)
def test_the_cards_snippet_runs(
    make_exportable: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str, format_: str
) -> None:
    exportable = make_exportable(**HEADS[head])
    export(exportable, tmp_path / "model", ExportOptions(format=format_))
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"(?ms)^```python\n(.*?)^```$", card)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(snippet, names)  # noqa: S102
    result = eval(snippet.strip().splitlines()[-1].split("#")[0], names)  # noqa: S307
    assert len(result) > 0 or head == "question-answering"  # whose end may stand before its start


def test_model_card(make_exportable: Callable, tmp_path: Path) -> None:
    exportable = make_exportable()
    exportable.checkpoint["cfg"] |= {"criterion": {"_name": "masked_lm"}, "task": {"data": "some/where/corpus"}}
    export(exportable, tmp_path / "mini", ExportOptions(format="onnx", int8=True), report="| perplexity |\n")
    card = (tmp_path / "mini" / "README.md").read_text(encoding="utf-8")
    assert "# mini\n" in card and "2 layers of width 12, 4 attention heads" in card and "7 updates" in card
    assert "| criterion | masked_lm |" in card and "| task.data | corpus |" in card
    assert re.search(
        r"\| model\.int8\.onnx \| 0\.\d \| int8 against float32: cosine of the outputs (0\.99|1\.00)", card
    )
    assert card.endswith("## Metrics\n\n| perplexity |\n")


def test_the_card_tells_the_objective(make_exportable: Callable, tmp_path: Path) -> None:
    """All options of the terms that have a weight, and of no other."""
    exportable = make_exportable()
    criterion = OmegaConf.to_container(OmegaConf.structured(DistillationConfig), enum_to_str=True) | {
        "_name": "distillation",
        "cosine_weight": 0.0,
        "soft_target_top_k": 64,
        "schedules": "hidden_weight=linear:0:1:500",
    }
    exportable.checkpoint["cfg"] |= {"criterion": criterion}
    export(exportable, tmp_path / "mini", ExportOptions(format="onnx"))
    card = (tmp_path / "mini" / "README.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"(?m)^\| criterion(?:\.(\w+))? \| (.*) \|$", card)) == {
        "": "distillation",
        "hidden_weight": "0.0",
        "hidden_layer_pairs": "uniform",
        "hidden_positions": "all",
        "hidden_distance": "mse",
        "mlm_weight": "2.0",
        "soft_target_weight": "5.0",
        "soft_target_temperature": "2.0",
        "soft_target_positions": "all",
        "soft_target_top_k": "64",
        "schedules": "hidden_weight=linear:0:1:500",
    }
