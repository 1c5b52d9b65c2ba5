"""What went wrong in an update whose gradients are not finite, told in one line."""

import sys
from typing import Any, Dict, Optional

import torch
from fairseq.models import BaseFairseqModel
from torch import nn

from fairseq_distil.errors import UserError

MOST_IDS = 8
"""Samples of a batch that are named."""


class NumericalGuard:
    """Comes before the other bases of a fairseq task.

    fairseq stops before an update with gradients that are not finite, and repeats its forwards and backwards to find
    out why. Only then are values looked at, for on a GPU that would wait for them at each update.
    """

    def train_step(self, sample: Dict[str, Any], model: BaseFairseqModel, *arguments: Any, **keywords: Any) -> Any:
        """See :meth:`fairseq.tasks.FairseqTask.train_step`.

        Raises:
            UserError: fairseq repeats an update, and this batch has a loss or a gradient that is not finite
        """
        result = super().train_step(sample, model, *arguments, **keywords)
        if isinstance(sys.exception(), FloatingPointError):
            culprit = not_finite_loss(result[2]) or not_finite_gradient(model)
            if culprit is not None:
                update = keywords.get("update_num", arguments[2] if len(arguments) > 2 else 0) + 1
                raise UserError(
                    f"update {update}: {culprit} in the batch of samples {_ids(sample)}. The update was not made, and "
                    "the last checkpoint stays as it is; lower the learning rate, or raise --clip-norm "
                    "(optimization.clip_norm) from 0, and start again"
                )
        return result


def not_finite_loss(logging_output: Dict[str, Any]) -> Optional[str]:
    """The first term of the objective that is not finite, and its value."""
    names = [name for name in logging_output if name.endswith("_loss")]
    for name in [*names, "loss"]:
        value = torch.as_tensor(logging_output.get(name, 0.0))
        if not value.isfinite().all():
            return f"{name} is {float(value.sum())}"
    return None


def not_finite_gradient(model: nn.Module) -> Optional[str]:
    """The first parameter whose gradient is not finite."""
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return f"the gradient of {name} is not finite"
    return None


def _ids(sample: Dict[str, Any]) -> str:
    ids = sample["id"].tolist()
    return ", ".join(map(str, ids[:MOST_IDS])) + (f" and {len(ids) - MOST_IDS} more" if len(ids) > MOST_IDS else "")
