"""Encoders as ONNX files."""

import mmap
from pathlib import Path

import numpy as np
from torch import Tensor

from fairseq_distil.errors import UserError

INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
"""Types that a graph may want its inputs in."""
IDLE_THREADS_SLEEP = ("session.force_spinning_stop", "1")
"""Threads that wait busily for more work take the cores from the model whose turn is next: half as much time again."""


QUANTIZES = b"QuantizeLinear"
"""How the names of ONNX's operations end that turn activations into integers; names are plain text in a file."""


class OnnxGraph:
    """A graph with the inputs ``input_ids`` and ``attention_mask``, on the CPU.

    Args:
        session: of ONNX Runtime
        dtype: of its products
    """

    def __init__(self, session: object, dtype: str) -> None:
        self.session = session
        self.dtype = dtype
        self._inputs = {node.name: INTEGERS[node.type] for node in session.get_inputs()}
        self.outputs = [node.name for node in session.get_outputs()]

    def run(self, ids: Tensor) -> list[np.ndarray]:
        """Run it on ids ``(batch, length)`` without padding."""
        values = ids.numpy()
        feeds = {"input_ids": values, "attention_mask": np.ones_like(values)}
        return self.session.run(None, {name: feeds[name].astype(dtype) for name, dtype in self._inputs.items()})


def load_onnx(path: Path, threads: int) -> OnnxGraph:
    """Load a graph.

    Raises:
        UserError: ONNX Runtime is missing, the file is damaged, or the graph wants other inputs
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"{path}: ONNX Runtime is not installed; pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry(*IDLE_THREADS_SLEEP)
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has an exception of its own for each kind of damage
        raise UserError(f"{path}: ONNX Runtime cannot load it: {str(error).splitlines()[0]}") from error
    unknown = {node.name for node in session.get_inputs()} - {"input_ids", "attention_mask"}
    if unknown:
        raise UserError(f"{path}: wants the inputs {', '.join(sorted(unknown))} besides input_ids and attention_mask")
    for node in session.get_inputs():
        if node.type not in INTEGERS:
            raise UserError(f"{path}: wants {node.name} as {node.type}, expected {' or '.join(INTEGERS)}")
    return OnnxGraph(session, product_type(path))


def product_type(path: Path) -> str:
    """Whether a graph quantizes what it multiplies: ``int8``, or else ``float32``."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as graph:
        return "int8" if graph.find(QUANTIZES) >= 0 else "float32"
