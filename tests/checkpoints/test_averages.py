"""Averages of weights that a checkpoint holds beside the weights."""

from typing import Any

import pytest
import torch

from fairseq_distil.checkpoints.averages import require_averages
from fairseq_distil.errors import UserError

WEIGHTS = {
    "weight": torch.ones(3, 2, dtype=torch.float16),
    "bias": torch.ones(3, dtype=torch.float16),
    "count": torch.tensor(5),
}
AVERAGES = {name: tensor.float() if tensor.ndim else tensor for name, tensor in WEIGHTS.items()}


def test_what_fairseq_stores_passes() -> None:
    """It keeps float32 of half precision, integers as they are, and what a dropped head has left behind."""
    require_averages({"best": 1.0}, WEIGHTS)
    left_behind = {"classification_heads.x.out_proj.bias": torch.zeros(2)}
    require_averages({"ema": WEIGHTS, "ema_fp32_params": AVERAGES | left_behind}, WEIGHTS)


@pytest.mark.parametrize("part", ["ema", "ema_fp32_params"])
@pytest.mark.parametrize(
    ("averages", "message"),
    [
        ("abc", "not a state dict of tensors"),
        ([1], "not a state dict of tensors"),
        (None, "not a state dict of tensors"),
        ({5: torch.ones(3)}, "not a state dict of tensors"),
        (AVERAGES | {"bias": 5}, "bias is not a dense tensor with values"),
        (AVERAGES | {"bias": torch.zeros(1).expand(10**12)}, "its tensors claim 4,000,000,000,[0-9]* bytes, but it"),
        ({"other": torch.zeros(1)}, "it lacks weight"),
        (AVERAGES | {"weight": torch.zeros(1)}, r"weight is \(1,\), but the model's is \(3, 2\)"),
        (AVERAGES | {"weight": torch.zeros(3, 2).long()}, r"weight is of torch.int64, but must be of floating point"),
        (AVERAGES | {"bias": torch.nn.Parameter(torch.ones(3))}, "bias is a parameter, and no average of one"),
    ],
)
def test_what_is_not_the_models_is_refused(part: str, averages: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"^extra_state.{part} .averages of the weights.: .*{message}"):
        require_averages({part: averages}, WEIGHTS)
