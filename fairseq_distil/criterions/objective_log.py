"""What the objective of distillation tells fairseq's log."""

import math
from typing import Any, Dict, List, Optional

import torch
from fairseq import utils
from fairseq.logging import metrics
from fairseq.logging.meters import MetersDict

from .terms import TERMS, Scalar

SCHEDULED = "scheduled_"
"""What a setting that changes is called."""
LOSS = Scalar("loss", "loss", "sample_size", unit=math.log(2))


def log_means(logging_outputs: List[Dict[str, Any]]) -> None:
    """Log the mean of each term over its own tokens, across micro-batches and workers.

    ``loss``, ``soft_target_loss`` and ``mlm_loss`` are in bits, as in fairseq, without the weights of the terms;
    ``cosine_loss`` is ``1 - cos``, ``hidden_loss`` a distance, ``relation_loss`` in nats; ``mlm_accuracy`` and
    ``teacher_agreement`` are fractions of masked tokens. What schedules change in training is told as
    ``scheduled_NAME``.

    Args:
        logging_outputs: sums and counts, the same keys in each
    """
    totals = _as_numbers({key: sum(log[key] for log in logging_outputs) for key in logging_outputs[0]})
    scheduled = [Scalar(key, key, LOSS.count) for key in totals if key.startswith(SCHEDULED)]
    for scalar in (LOSS, *(scalar for term in TERMS for scalar in term.scalars()), *scheduled):
        if scalar.total in totals and totals[scalar.count] > 0:
            count = totals[scalar.count]
            metrics.log_scalar(scalar.name, totals[scalar.total] / count / scalar.unit, count, round=scalar.digits)
    if "mlm_loss" in totals:
        metrics.log_derived("mlm_ppl", _masked_lm_perplexity)


def _as_numbers(totals: Dict[str, Any]) -> Dict[str, float]:
    """Copy all sums from the device at once: fairseq asks for the means at every update, and would wait for each."""
    tensors = {key: total for key, total in totals.items() if torch.is_tensor(total)}
    if not tensors:
        return totals
    numbers = torch.stack([total.double() for total in tensors.values()]).tolist()
    return {**totals, **dict(zip(tensors, numbers, strict=True))}


def _masked_lm_perplexity(meters: MetersDict) -> Optional[float]:
    """None, as of the loss, where no batch since the last line of the log had it."""
    loss = meters["mlm_loss"].avg if "mlm_loss" in meters else None
    return None if loss is None else utils.get_perplexity(loss)
