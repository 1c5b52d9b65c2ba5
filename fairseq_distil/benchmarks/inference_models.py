"""Models to run on batches of ids: of this plugin, of transformers, or of ONNX."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from fairseq.data import Dictionary
from torch import Tensor, nn

from fairseq_distil.checkpoints.safe_loading import load_safely
from fairseq_distil.errors import UserError, naming
from fairseq_distil.models import DistilEncoderModel
from fairseq_distil.models.encoder_loading import read_encoder
from fairseq_distil.modules import EncoderConfig

from .inference_onnx import load_onnx

PADDING_INDEX = 1


@dataclass(frozen=True)
class Runner:
    """A model that is ready to run."""

    name: str
    runtime: str
    dtype: str
    outputs: str
    """what it computes: ``features``, ``logits``, or the outputs of an ONNX graph"""
    run: Callable[[Tensor], object]
    """takes ids ``(batch, length)`` without padding"""
    vocabulary_size: int | None
    max_positions: int | None
    parameters: int | None
    file_mib: float
    """of the ONNX file, else what the weights alone take in a file"""

    def allows(self, length: int) -> bool:
        return self.max_positions is None or length <= self.max_positions


def random_encoder(layers: int, width: int, heads: int, vocabulary_size: int) -> DistilEncoderModel:
    """An encoder that has learned nothing.

    Raises:
        UserError: a size is impossible
    """
    torch.manual_seed(0)
    try:
        config = EncoderConfig(
            vocabulary_size=vocabulary_size,
            padding_index=PADDING_INDEX,
            layers=layers,
            width=width,
            feed_forward_width=4 * width,
            attention_heads=heads,
        )
    except ValueError as error:
        raise UserError(f"the encoder cannot be built: {error}") from error
    return DistilEncoderModel(config)


def load_runners(name: str, path: Path, dtypes: list[str], outputs: str, device: str) -> Iterator[Runner]:
    """Yield a runner for each model at ``path`` and each type.

    Args:
        name: what to call it
        path: a checkpoint of this plugin, an ONNX file, or a directory of ONNX files, or else of transformers
        dtypes: types of the weights, for PyTorch
        outputs: ``features`` or ``logits``, for PyTorch
        device: for PyTorch; ONNX files run on the CPU

    Raises:
        UserError: there is no such thing, or it cannot be loaded
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or directory")
    graphs = {file: _onnx_runner(name, file) for file in onnx_files(path)}
    types = [graph.dtype for graph in graphs.values()]
    for file, graph in graphs.items():
        yield graph if types.count(graph.dtype) == 1 else replace(graph, name=f"{name} {file.name}")
    if graphs:
        return
    if not path.is_dir():
        yield from encoder_runners(name, load_encoder(path), dtypes, outputs, device)
    elif (path / "config.json").is_file():
        yield from _transformers_runners(name, path, dtypes, outputs, device)
    else:
        raise UserError(f"{path}: holds neither ONNX files nor a config.json of transformers")


def onnx_files(path: Path) -> list[Path]:
    """The ONNX files of a directory, or a file that is one."""
    return sorted(path.glob("*.onnx")) if path.is_dir() else [path] * (path.suffix == ".onnx")


def load_encoder(path: Path) -> DistilEncoderModel:
    """The encoder that a checkpoint of this plugin holds, with the dictionary that the checkpoint tells of."""
    symbols = (load_safely(path).get("task_state") or {}).get("dictionary_symbols")
    if symbols is None:
        raise UserError(f"{path}: not a checkpoint of the task distil_masked_lm: it has no dictionary_symbols")
    dictionary = Dictionary()
    for symbol in symbols[dictionary.nspecial :]:
        dictionary.add_symbol(symbol)
    stored = read_encoder(str(path), dictionary, role="model")
    with naming(path):
        return DistilEncoderModel.restored(stored.config, stored.weights)


def encoder_runners(
    name: str, model: DistilEncoderModel, dtypes: list[str], outputs: str, device: str
) -> Iterator[Runner]:
    """Yield the encoder in each type."""

    def runner(model: DistilEncoderModel, dtype: str) -> Runner:
        def run(ids: Tensor) -> object:
            return model(ids, features_only=outputs == "features", has_padding=False)

        sizes = model.config.vocabulary_size, model.config.max_positions
        return Runner(name, "PyTorch", dtype, outputs, run, *sizes, *_size(model))

    for dtype in dtypes:
        yield runner(_prepared(model, dtype, device), dtype)


def _transformers_runners(name: str, path: Path, dtypes: list[str], outputs: str, device: str) -> Iterator[Runner]:
    from transformers import AutoModel, AutoModelForMaskedLM  # here, for it takes seconds

    kind = AutoModel if outputs == "features" else AutoModelForMaskedLM
    try:
        loaded = kind.from_pretrained(path, local_files_only=True)
        sizes = loaded.config.vocab_size, loaded.config.max_position_embeddings
    except Exception as error:  # transformers raises almost anything on a configuration that makes no sense
        raise UserError(f"{path}: transformers cannot load it: {' '.join(str(error).split())}") from error
    if hasattr(loaded, "pooler"):
        loaded.pooler = None  # which the outputs compared do not go through

    def runner(model: nn.Module, dtype: str) -> Runner:
        def run(ids: Tensor) -> object:
            return model(input_ids=ids, attention_mask=torch.ones_like(ids))

        return Runner(name, "transformers", dtype, outputs, run, *sizes, *_size(model))

    for dtype in dtypes:
        yield runner(_prepared(loaded, dtype, device), dtype)


def _onnx_runner(name: str, path: Path) -> Runner:
    graph = load_onnx(path, torch.get_num_threads())
    outputs = ", ".join(graph.outputs)
    return Runner(name, "ONNX Runtime", graph.dtype, outputs, graph.run, None, None, None, path.stat().st_size / 2**20)


def _prepared(model: nn.Module, dtype: str, device: str) -> nn.Module:
    return copy.deepcopy(model).to(device=device, dtype=getattr(torch, dtype)).eval()


def _size(model: nn.Module) -> tuple[int, float]:
    """Parameters, and what they take in a file."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() * p.element_size() for p in parameters) / 2**20
