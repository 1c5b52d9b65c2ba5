"""Nodes and weights of an ONNX graph, collected one by one. Standard operators only."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor


class GraphBuilder:
    """Appends operators; values go by their names.

    Args:
        weights: tensors by name; those that are used are stored in the graph, each once
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.weights = {name: tensor.detach().float().numpy() for name, tensor in weights.items()}
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}

    def op(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Append an operator with one output; returns the output's name."""
        return self.ops(kind, *inputs, outputs=[output or f"{kind}_{len(self.nodes)}"], **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: list[str], **attributes: Any) -> list[str]:
        """Append an operator with outputs of these names."""
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes))
        return outputs

    def store(self, name: str, value: np.ndarray) -> str:
        """Put a tensor into the graph, unless it is there already."""
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.copy(value, order="C"), name)
        return name

    def constant(self, value: Any, dtype: type = np.int64) -> str:
        """A small constant."""
        return self.store(f"{np.dtype(dtype).name}:{value}".replace(" ", ""), np.array(value, dtype))

    def weight(self, name: str) -> str:
        """A weight as it is."""
        return self.store(name, self.weights[name])

    def exact_linear(self, hidden: str, name: str) -> str:
        """The module ``name``, a linear map, on ``(..., inputs)``, in float32."""
        transposed = self.store(f"{name}.weight", self.weights[f"{name}.weight"].T)
        return self.op("Add", self.op("MatMul", hidden, transposed), self.weight(f"{name}.bias"))

    def linear(self, hidden: str, name: str) -> str:
        """The same, in whatever precision the graph has."""
        return self.exact_linear(hidden, name)

    def embedding(self, ids: str, name: str) -> str:
        """Rows of the weight ``name``."""
        return self.op("Gather", self.weight(name), ids)

    def tied_projection(self, hidden: str, embedding_name: str, bias_name: str) -> str:
        """Products with all rows of an embedding; ONNX Runtime transposes it once, when it loads the file."""
        product = self.op("MatMul", hidden, self.op("Transpose", self.weight(embedding_name), perm=[1, 0]))
        return self.op("Add", product, self.weight(bias_name))

    def layer_norm(self, hidden: str, name: str, epsilon: float) -> str:
        """The LayerNorm ``name`` over the last axis."""
        weights = (self.weight(f"{name}.{kind}") for kind in ("weight", "bias"))
        return self.op("LayerNormalization", hidden, *weights, axis=-1, epsilon=epsilon)
