"""What went wrong in an update, or a validation, whose loss or gradients are not finite, told in one line."""

import logging
import re
import sys
from contextlib import nullcontext
from itertools import chain
from typing import Any, Dict, List, NamedTuple, Optional

import torch
from fairseq import trainer
from fairseq.models import BaseFairseqModel
from fairseq.optim import AMPOptimizer
from fairseq.optim.dynamic_loss_scaler import DynamicLossScaler
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from fairseq_distil.errors import UserError
from fairseq_distil.losses import spoil_gradient_unless_finite

logger = logging.getLogger(__name__)

MOST_IDS = 8
"""Samples of a batch that are named."""
WRAPPERS = re.compile(r"^(module\.)+")
"""What models that work together prepend to the names of their parameters."""


def _spoil_gradients(_criterion: nn.Module, _arguments: Any, outputs: Any) -> Any:
    loss, *others = outputs
    return (spoil_gradient_unless_finite(loss), *others) if torch.is_tensor(loss) and loss.requires_grad else outputs


class _Batch(NamedTuple):
    ids: Optional[Tensor]
    logging_output: Dict[str, Any]


class NumericalGuard:
    """Comes before the other bases of a fairseq task.

    fairseq stops before an update with gradients that are not finite, and repeats its forwards and backwards to find
    out why. Only then are values looked at, for on a GPU that would wait for them at each update. Under loss scaling,
    where such gradients are the sign that the scale is too large, it goes on without the update.
    """

    _batches: List[_Batch] = []
    """What this update has seen so far."""
    _repeated = 0
    _update_num = 0
    _criterion: Optional[nn.Module] = None
    """It may have weights of its own, which train with the model's."""

    def train_step(
        self, sample: Dict[str, Any], model: BaseFairseqModel, criterion: nn.Module, *arguments: Any, **keywords: Any
    ) -> Any:
        """See :meth:`fairseq.tasks.FairseqTask.train_step`.

        Raises:
            UserError: fairseq repeats an update that is not finite
        """
        if self._criterion is not criterion:
            self._criterion = criterion
            criterion.register_forward_hook(_spoil_gradients)
        is_repeated = isinstance(sys.exception(), FloatingPointError)
        # Of its own batch alone: the sum of all workers' gradients does not tell whose is at fault.
        with getattr(model, "no_sync", nullcontext)() if is_repeated else nullcontext():
            result = super().train_step(sample, model, criterion, *arguments, **keywords)
        self._update_num = keywords.get("update_num", arguments[1] if len(arguments) > 1 else 0)
        self._watch(keywords.get("optimizer", arguments[0] if arguments else None), model)
        if is_repeated:
            self._explain(self._update_num, _Batch(sample.get("id"), result[2]), model)
        else:
            self._batches = [*self._batches, _Batch(sample.get("id"), result[2])]
        return result

    def valid_step(self, sample: Dict[str, Any], model: BaseFairseqModel, *arguments: Any, **keywords: Any) -> Any:
        """See :meth:`fairseq.tasks.FairseqTask.valid_step`; fairseq waits for each batch's values anyway.

        Raises:
            UserError: a loss is not finite, which fairseq would keep as the best that no later one is better than
        """
        result = super().valid_step(sample, model, *arguments, **keywords)
        if (culprit := not_finite_loss(result[2])) is not None:
            batch = _named([_Batch(sample.get("id"), result[2])])
            raise UserError(
                f"validation: {culprit} in {batch}. The last checkpoint stays as it is; lower the learning rate, and "
                "start again"
            )
        return result

    def optimizer_step(self, optimizer: Any, model: BaseFairseqModel, update_num: int) -> None:
        """See :meth:`fairseq.tasks.FairseqTask.optimizer_step`; an update that loss scaling skips is told."""
        if isinstance(optimizer, AMPOptimizer):
            self._scaled_step(optimizer, model, update_num)
        else:
            super().optimizer_step(optimizer, model, update_num)
        self._batches = []

    def _scaled_step(self, optimizer: AMPOptimizer, model: BaseFairseqModel, update_num: int) -> None:
        scale = optimizer.scaler.get_scale()
        super().optimizer_step(optimizer, model, update_num)
        lowered_scale = optimizer.scaler.get_scale()  # fairseq logs it at each update, too
        if lowered_scale < scale:
            self._tell_of_skipped(model, update_num, lowered_scale)

    def _watch(self, optimizer: Any, model: BaseFairseqModel) -> None:
        """Under ``--fp16`` fairseq skips an update before it asks the task to make it, and clears the gradients."""
        scaler = getattr(optimizer, "scaler", None)
        if not isinstance(scaler, DynamicLossScaler) or "check_overflow" in vars(scaler):
            return
        check_overflow = scaler.check_overflow

        def check_and_tell(grad_norm: Tensor) -> None:
            try:
                check_overflow(grad_norm)
            except OverflowError:
                self._tell_of_skipped(model, self._update_num, scaler.loss_scale)
                self._batches = []
                raise

        scaler.check_overflow = check_and_tell

    def _tell_of_skipped(self, model: BaseFairseqModel, update_num: int, lowered_scale: float) -> None:
        logger.info(
            "update %d: %s in %s; it is skipped, and the loss scale lowered to %g",
            update_num + 1,
            self._culprit(model),
            _named(self._batches),
            lowered_scale,
        )

    def _culprit(self, model: BaseFairseqModel) -> str:
        terms = (not_finite_loss(batch.logging_output) for batch in self._batches)
        return next(filter(None, terms), None) or self._gradient(model) or "the gradients' norm is not finite"

    def _gradient(self, model: BaseFairseqModel) -> Optional[str]:
        """The first parameter whose gradient is not finite."""
        for name, parameter in chain(model.named_parameters(), self._criterion.named_parameters("criterion")):
            if parameter.grad is not None and not parameter.grad.isfinite().all():
                return f"the gradient of {WRAPPERS.sub('', name)} is not finite"
        return None

    def _explain(self, update_num: int, repeated: _Batch, model: BaseFairseqModel) -> None:
        for batch in [*self._batches, repeated]:
            if (culprit := not_finite_loss(batch.logging_output)) is not None:
                raise _stopped(update_num, f"{culprit} in", [batch])
        if (culprit := self._gradient(model)) is not None:
            raise _stopped(update_num, f"{culprit} in", [repeated])
        self._repeated += 1
        if self._repeated == len(self._batches):
            raise _stopped(
                update_num,
                "the gradients of all workers together, or their norm, are not finite; this worker's own are, of",
                self._batches,
            )


def guard(task: FairseqTask) -> None:
    """Give a task of fairseq's own the guard that those of this project have.

    fairseq's own detector prints the tensors at fault, page after page, and fails with some models; it is left out.
    """
    trainer.NanDetector = nullcontext
    if not isinstance(task, NumericalGuard):
        task.__class__ = type(type(task).__name__, (NumericalGuard, type(task)), {})


def _stopped(update_num: int, what_in: str, batches: List[_Batch]) -> UserError:
    return UserError(
        f"update {update_num + 1}: {what_in} {_named(batches)}. The update was not made, and the last checkpoint stays "
        "as it is; lower the learning rate, or raise --clip-norm (optimization.clip_norm) from 0, and start again"
    )


def not_finite_loss(logging_output: Dict[str, Any]) -> Optional[str]:
    """The first term of the objective that is not finite, and its value."""
    names = [name for name in logging_output if name.endswith("_loss")]
    for name in [*names, "loss"]:
        value = torch.as_tensor(logging_output.get(name, 0.0))
        if not value.isfinite().all():
            return f"{name} is {float(value.sum())}"
    return None


def _named(batches: List[_Batch]) -> str:
    ids = [number for batch in batches if batch.ids is not None for number in batch.ids.tolist()]
    if not ids:
        return "a batch without ids"
    more = f" and {len(ids) - MOST_IDS} more" if len(ids) > MOST_IDS else ""
    return f"the batch of samples {', '.join(map(str, ids[:MOST_IDS]))}{more}"
