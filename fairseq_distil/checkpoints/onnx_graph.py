"""The encoder and its heads as an ONNX graph.

Written out operator by operator: a trace of the model stores tied weights twice or transposes them at every call, takes
half a minute, and needs packages that nothing else does. Every export is compared with the model itself.
"""

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper
from torch import Tensor

from fairseq_distil.checkpoints.exported_heads import ENCODER, HEAD_KINDS
from fairseq_distil.checkpoints.key_maps import (
    CLASSIFICATION,
    CLASSIFICATION_HEAD,
    HEAD_BIAS,
    MASKED_LM,
    POSITION_EMBEDDINGS,
    QUESTION_ANSWERING,
    WORD_EMBEDDINGS,
)
from fairseq_distil.checkpoints.onnx_builder import GraphBuilder
from fairseq_distil.modules import EncoderConfig

Shape = list[str | int]

OPSET = 20  # the first with Gelu; ONNX Runtime has it since 1.17
IR_VERSION = 9
INPUTS = ("input_ids", "attention_mask")
ACTIVATIONS = {
    "gelu": lambda graph, hidden: graph.op("Gelu", hidden),
    "gelu_tanh": lambda graph, hidden: graph.op("Gelu", hidden, approximate="tanh"),
    "relu": lambda graph, hidden: graph.op("Relu", hidden),
    "silu": lambda graph, hidden: graph.op("Mul", hidden, graph.op("Sigmoid", hidden)),
}


def onnx_model(
    weights: Mapping[str, Tensor],
    config: EncoderConfig,
    kind: str,
    builder: type[GraphBuilder] = GraphBuilder,
) -> ModelProto:
    """A model of two inputs, ``input_ids`` and ``attention_mask``: int64 ``(batch, length)``.

    Args:
        weights: state dict of the encoder and one head; the rows of its embeddings are what the ids stand for
        config: the encoder's shape
        kind: of the head, a key of ``HEAD_KINDS``, whose outputs are the model's
        builder: of the graph
    """
    graph = builder(weights)
    hidden = _encoder(graph, config)
    shape = HEADS[kind](graph, hidden, config)
    proto = helper.make_graph(
        graph.nodes,
        "distil_encoder",
        [_value(name, TensorProto.INT64, ["batch", "length"]) for name in INPUTS],
        [_value(name, TensorProto.FLOAT, shape) for name in HEAD_KINDS[kind].outputs],
        list(graph.initializers.values()),
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(proto, opset_imports=opsets, ir_version=IR_VERSION, producer_name="fairseq_distil")


def _value(name: str, element_type: int, shape: Shape) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, element_type, shape)


def _encoder(graph: GraphBuilder, config: EncoderConfig) -> str:
    """The last hidden states."""
    ids, mask = INPUTS
    length = graph.op("Shape", ids, start=1, end=2)
    first = graph.constant([0])
    positions = graph.op("Slice", graph.weight(POSITION_EMBEDDINGS), first, length, first)
    embedded = graph.op("Add", graph.embedding(ids, WORD_EMBEDDINGS), positions)
    hidden = graph.layer_norm(embedded, "encoder.embeddings.layer_norm", config.layer_norm_epsilon)
    is_token = graph.op("Unsqueeze", graph.op("Cast", mask, to=TensorProto.BOOL), graph.constant([1, 2]))
    nothing, lowest = graph.constant(0, np.float32), graph.constant(np.finfo(np.float32).min, np.float32)
    bias = graph.op("Where", is_token, nothing, lowest)  # (batch, 1, 1, length)
    for layer in range(config.layers):
        hidden = _layer(graph, hidden, bias, f"encoder.layers.{layer}", config)
    return hidden


def _layer(graph: GraphBuilder, hidden: str, bias: str, name: str, config: EncoderConfig) -> str:
    context = _attention(graph, graph.linear(hidden, f"{name}.attention.query_key_value"), bias, config)
    attended = graph.op("Add", hidden, graph.linear(context, f"{name}.attention.output"))
    hidden = graph.layer_norm(attended, f"{name}.attention_layer_norm", config.layer_norm_epsilon)
    inner = ACTIVATIONS[config.activation](graph, graph.linear(hidden, f"{name}.feed_forward_in"))
    summed = graph.op("Add", hidden, graph.linear(inner, f"{name}.feed_forward_out"))
    return graph.layer_norm(summed, f"{name}.output_layer_norm", config.layer_norm_epsilon)


def _attention(graph: GraphBuilder, query_key_value: str, bias: str, config: EncoderConfig) -> str:
    """Context ``(batch, length, width)`` of ``(batch, length, 3 * width)``; see ``modules/attention.py``."""
    head_width = config.width // config.attention_heads
    prefix = f"{query_key_value}_"
    parts = graph.ops(
        "Split",
        query_key_value,
        graph.constant([config.width] * 3),
        outputs=[prefix + part for part in ("query", "key", "value")],
        axis=-1,
    )
    by_head = graph.constant([0, 0, config.attention_heads, head_width])
    query, key, value = (
        graph.op("Transpose", graph.op("Reshape", part, by_head), perm=order)
        for part, order in zip(parts, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
    )
    scaled = graph.op("Mul", query, graph.constant(head_width**-0.5, np.float32))
    scores = graph.op("Add", graph.op("MatMul", scaled, key), bias)
    context = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), value)
    together = graph.constant([0, 0, config.width])
    return graph.op("Reshape", graph.op("Transpose", context, perm=[0, 2, 1, 3]), together)


def _masked_lm(graph: GraphBuilder, hidden: str, config: EncoderConfig) -> Shape:
    hidden = ACTIVATIONS[config.activation](graph, graph.linear(hidden, "masked_lm_head.dense"))
    hidden = graph.layer_norm(hidden, "masked_lm_head.layer_norm", config.layer_norm_epsilon)
    graph.op("Identity", graph.tied_projection(hidden, WORD_EMBEDDINGS, HEAD_BIAS), output="logits")
    return ["batch", "length", len(graph.weights[WORD_EMBEDDINGS])]


def _classification(graph: GraphBuilder, hidden: str, config: EncoderConfig) -> Shape:
    name = f"classification_heads.{CLASSIFICATION_HEAD}"
    first_token = graph.op("Gather", hidden, graph.constant(0), axis=1)
    inner = graph.op("Relu", graph.linear(first_token, f"{name}.dense"))
    graph.op("Identity", graph.exact_linear(inner, f"{name}.output"), output="logits")
    return ["batch", len(graph.weights[f"{name}.output.weight"])]


def _question_answering(graph: GraphBuilder, hidden: str, config: EncoderConfig) -> Shape:
    logits = graph.exact_linear(hidden, "question_answering_head.output")
    outputs = HEAD_KINDS[QUESTION_ANSWERING].outputs
    for index, name in enumerate(outputs):
        graph.op("Gather", logits, graph.constant(index), output=name, axis=2)
    return ["batch", "length"]


def _nothing(graph: GraphBuilder, hidden: str, config: EncoderConfig) -> Shape:
    graph.op("Identity", hidden, output=HEAD_KINDS[ENCODER].outputs[0])
    return ["batch", "length", config.width]


HEADS = {
    MASKED_LM: _masked_lm,
    CLASSIFICATION: _classification,
    QUESTION_ANSWERING: _question_answering,
    ENCODER: _nothing,
}
