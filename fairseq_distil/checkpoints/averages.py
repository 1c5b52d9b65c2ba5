"""Averages of a run's weights, which fairseq's ``--store-ema`` keeps in a checkpoint beside the weights."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fairseq_distil.checkpoints.tensor_check import require_floating, require_held
from fairseq_distil.errors import UserError, naming

AVERAGES = ("ema", "ema_fp32_params")
"""In ``extra_state``: those in the model's own type, and in float32."""


def require_averages(extra: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Check what ``extra_state`` holds of them: fairseq spreads a single value over a whole matrix, and takes any type.

    Names that the weights do not have may be of a head that was dropped, and are not read.

    Raises:
        UserError: they are not averages of these weights
    """
    for part in AVERAGES:
        if part in extra:
            with naming(f"extra_state.{part} (averages of the weights)"):
                require_held(extra[part])
                for name, weight in weights.items():
                    _require_average_of(weight, name, extra[part])


def _require_average_of(weight: Tensor, name: str, averages: Mapping[str, Tensor]) -> None:
    average = averages.get(name)
    if average is None:
        raise UserError(f"it lacks {name}")
    if average.shape != weight.shape:
        raise UserError(f"{name} is {tuple(average.shape)}, but the model's is {tuple(weight.shape)}")
    if average.dtype != weight.dtype:
        require_floating(name, average)
    if average.requires_grad:
        raise UserError(f"{name} is a parameter, and no average of one")
