"""An encoder of this project as ONNX files, checked with ONNX Runtime."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from fairseq_distil.checkpoints.export_check import Batch, Int8Difference, int8_difference, require_same_outputs
from fairseq_distil.checkpoints.exportable import Exportable
from fairseq_distil.checkpoints.key_maps import HEAD_BIAS, WORD_EMBEDDINGS
from fairseq_distil.checkpoints.onnx_builder import GraphBuilder
from fairseq_distil.checkpoints.onnx_graph import onnx_model
from fairseq_distil.errors import UserError
from fairseq_distil.modules import EncoderConfig

FLOAT_FILE, INT8_FILE = "model.onnx", "model.int8.onnx"
LARGEST_FILE = 2**31 - 2**20  # bytes that protobuf takes; larger weights go to a file beside it
ERRORS_ONLY = 3


def write_onnx(exportable: Exportable, path: Path, builder: type[GraphBuilder] = GraphBuilder) -> None:
    """Write the encoder and its head; the ids are the exported tokeniser's."""
    weights, rows = exportable.weights, torch.tensor(exportable.ids)
    weights |= {name: weights[name][rows] for name in (WORD_EMBEDDINGS, HEAD_BIAS) if name in weights}
    save_graph(weights, exportable.model.config, exportable.head.kind, path, builder)


def save_graph(
    weights: Mapping[str, Tensor], config: EncoderConfig, kind: str, path: Path, builder: type[GraphBuilder]
) -> None:
    """Write an encoder and one head.

    Args:
        weights: of :func:`~.exported_heads.head_weights`
        config: of the encoder
        kind: of the head, a key of ``HEAD_KINDS``
        path: of the file
        builder: the precision
    """
    model = onnx_model(weights, config, kind, builder)
    is_large = sum(len(weight.raw_data) for weight in model.graph.initializer) > LARGEST_FILE
    onnx.save_model(model, path, save_as_external_data=is_large, location=f"{path.name}_data")
    onnx.checker.check_model(path)


def check_onnx(path: Path, exportable: Exportable, batch: Batch) -> float:
    """Run the file on the batch and, for another shape without padding, on its first sentence.

    Returns:
        the largest difference to the encoder's own outputs

    Raises:
        UserError: outputs differ
    """
    session = _session(path)
    return max(
        require_same_outputs("ONNX Runtime", _run(session, part), exportable, part) for part in (batch, batch.first())
    )


def check_int8(path: Path, exportable: Exportable, batch: Batch) -> Int8Difference:
    """Run the file of int8 weights.

    Raises:
        UserError: its outputs differ by more than the bound of :class:`.export_check.Int8Difference`
    """
    difference = int8_difference(_run(_session(path), batch), exportable, batch)
    if not difference.is_within_bound():
        raise UserError(
            f"int8 weights lose too much: {difference}; at least 0.99 and nine in ten are required, and nothing was "
            "written; leave out --quantize"
        )
    return difference


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _run(session: onnxruntime.InferenceSession, batch: Batch) -> dict[str, Tensor]:
    names = [output.name for output in session.get_outputs()]
    inputs = {name: tensor.numpy() for name, tensor in batch.inputs.items()}
    return {
        name: torch.from_numpy(np.array(output)) for name, output in zip(names, session.run(names, inputs), strict=True)
    }
