"""Dynamic quantisation of an ONNX graph to int8, where the weights are: linear maps and word embeddings.

Weights have one scale a row. Activations are quantised while the model runs, with one scale a token: a few
tokens have values far above all others', which with one scale for a whole batch cost most of the others' precision,
and a token's result would depend on what else is in the batch.
"""

import numpy as np
from onnx import TensorProto

from fairseq_distil.checkpoints.onnx_builder import GraphBuilder

# CPUs without VNNI add two products of a byte with a byte in 16 bits: 2 * 255 * 64 fits, 2 * 255 * 127 saturates.
LARGEST_WEIGHT = 64
LARGEST_ACTIVATION, ACTIVATION_ZERO = 127, 128
SMALLEST_SCALE = 1e-12


class Int8GraphBuilder(GraphBuilder):
    """Stores the weights of linear maps and embeddings as bytes and multiplies in integers."""

    def linear(self, hidden: str, name: str) -> str:
        integers, scales = quantized_rows(self.weights[f"{name}.weight"])
        product = self._product(
            hidden, self.store(f"{name}.weight", integers.T), self.store(f"{name}.weight_scale", scales[:, 0])
        )
        return self.op("Add", product, self.weight(f"{name}.bias"))

    def embedding(self, ids: str, name: str) -> str:
        integers, scales = self._stored_rows(name)
        rows = self.op("Cast", self.op("Gather", integers, ids), to=TensorProto.FLOAT)
        return self.op("Mul", rows, self.op("Unsqueeze", self.op("Gather", scales, ids), self.constant([-1])))

    def tied_projection(self, hidden: str, embedding_name: str, bias_name: str) -> str:
        integers, scales = self._stored_rows(embedding_name)
        product = self._product(hidden, self.op("Transpose", integers, perm=[1, 0]), scales)
        return self.op("Add", product, self.weight(bias_name))

    def _stored_rows(self, name: str) -> tuple[str, str]:
        integers, scales = quantized_rows(self.weights[name])
        return self.store(name, integers), self.store(f"{name}_scale", scales[:, 0])

    def _product(self, hidden: str, integers: str, scales: str) -> str:
        """``(..., inputs)`` with integers ``(inputs, outputs)`` of these scales ``(outputs)``."""
        largest = self.op("ReduceMax", self.op("Abs", hidden), self.constant([-1]), keepdims=1)
        token_scale = self.op("Div", largest, self.constant(LARGEST_ACTIVATION, np.float32))
        token_scale = self.op("Max", token_scale, self.constant(SMALLEST_SCALE, np.float32))
        zero = self.constant(ACTIVATION_ZERO, np.uint8)
        activations = self.op("QuantizeLinear", self.op("Div", hidden, token_scale), self.constant(1, np.float32), zero)
        sums = self.op("MatMulInteger", activations, integers, zero, self.constant(0, np.int8))
        # One factor after the other: ONNX Runtime fuses a product of both scales as if there were one for all tokens.
        by_token = self.op("Mul", self.op("Cast", sums, to=TensorProto.FLOAT), token_scale)
        return self.op("Mul", by_token, scales)


def quantized_rows(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers ``(rows, columns)``, and the scale of each row ``(rows, 1)``."""
    scales = np.maximum(np.abs(weight).max(axis=1, keepdims=True) / LARGEST_WEIGHT, SMALLEST_SCALE)
    return np.rint(weight / scales).astype(np.int8), scales.astype(np.float32)
