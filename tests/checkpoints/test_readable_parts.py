"""What a run saves it can read, whatever its model's parameters are views of."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fairseq_distil.checkpoints.atomic_saving import save_atomically
from fairseq_distil.checkpoints.readable_parts import readable
from fairseq_distil.checkpoints.safe_loading import load_safely

VALUES = torch.arange(24.0).view(4, 6)


def read_back(part: str, tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    history = [{"num_updates": 3, "lr_scheduler_state": {"best": None}}]
    state = {"model": {}, "args": None, "optimizer_history": history, "extra_state": {}, part: tensors}
    save_atomically(state, str(path))
    return load_safely(path)[part]


@pytest.mark.parametrize("part", ["model", "criterion"])
@pytest.mark.parametrize(
    "view",
    [VALUES[:, :3], VALUES[:, 4], VALUES[1:3], VALUES[::2], VALUES[:1].expand(5, 6), VALUES.as_strided((4, 6), (1, 1))],
)
def test_a_parameter_that_is_a_view(part: str, view: Tensor, tmp_path: Path) -> None:
    read = read_back(part, {"whole": VALUES, "view": torch.nn.Parameter(view)}, tmp_path / "checkpoint1.pt")
    assert torch.equal(read["view"], view) and torch.equal(read["whole"], VALUES)
    assert read["view"].untyped_storage().nbytes() == 4 * view.numel()


def test_a_parameter_of_many_names(tmp_path: Path) -> None:
    """As that of a layer which is used several times."""
    read = read_back("model", {f"layers.{index}": VALUES for index in range(9)}, tmp_path / "checkpoint1.pt")
    assert len(read) == 9 and all(torch.equal(tensor, VALUES) for tensor in read.values())


def test_what_is_whole_is_not_copied() -> None:
    state = OrderedDict(weight=VALUES, tied=VALUES, turned=VALUES.T, none=VALUES[:0].clone())
    state._metadata = OrderedDict({"": {"version": 1}})
    made = readable({"model": state})["model"]
    assert made._metadata == state._metadata
    assert all(made[name] is tensor for name, tensor in state.items())
