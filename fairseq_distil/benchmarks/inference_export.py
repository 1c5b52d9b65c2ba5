"""Encoders of random weights by ONNX Runtime."""

import tempfile
from dataclasses import replace
from pathlib import Path

from fairseq_distil.checkpoints.export_onnx import FLOAT_FILE, INT8_FILE, save_graph
from fairseq_distil.checkpoints.exported_heads import ENCODER, ExportedHead, head_weights
from fairseq_distil.checkpoints.key_maps import MASKED_LM
from fairseq_distil.checkpoints.onnx_builder import GraphBuilder
from fairseq_distil.checkpoints.onnx_int8_builder import Int8GraphBuilder
from fairseq_distil.models import DistilEncoderModel

from .inference_models import Runner, load_runners

BUILDERS = {FLOAT_FILE: GraphBuilder, INT8_FILE: Int8GraphBuilder}
HEAD_OF_OUTPUTS = {"features": ENCODER, "logits": MASKED_LM}


def exported_runners(name: str, model: DistilEncoderModel, outputs: str) -> list[Runner]:
    """Export an encoder in float32 and int8, and load the files, which are gone then.

    Args:
        name: what to call it
        model: the encoder
        outputs: ``features`` or ``logits``
    """
    kind = HEAD_OF_OUTPUTS[outputs]
    weights = head_weights(model, ExportedHead(kind, kind))
    with tempfile.TemporaryDirectory() as directory:
        for file, builder in BUILDERS.items():
            save_graph(weights, model.config, kind, Path(directory, file), builder)
        runners = list(load_runners(name, Path(directory), [], outputs, "cpu"))
    known = {
        "vocabulary_size": model.config.vocabulary_size,
        "max_positions": model.config.max_positions,
        "parameters": sum(weight.numel() for weight in weights.values()),
    }
    return [replace(runner, **known) for runner in runners]
