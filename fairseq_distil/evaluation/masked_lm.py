"""Masked-LM quality of several encoders on the same masks."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from fairseq import utils
from torch import Tensor, nn

from fairseq_distil.errors import UserError


class MaskedLMResult(NamedTuple):
    """Means over masked tokens."""

    perplexity: float
    accuracy: float
    """fraction of masked tokens whose first choice is right"""
    reference_agreement: float
    """fraction of masked tokens whose first choice is the first model's"""


@torch.inference_mode()
def evaluate_masked_lm(models: list[nn.Module], batches: Iterable[dict[str, Any]]) -> list[MaskedLMResult]:
    """Evaluate encoders in evaluation mode, the first of which is the reference that the others are compared with.

    Args:
        models: ``distil_encoder`` models with one vocabulary, on one device
        batches: collated by a :class:`~fairseq_distil.data.masked_lm_dataset.MaskedLMDataset`

    Raises:
        UserError: no token of the batches is masked
    """
    device = next(models[0].parameters()).device
    sums = torch.zeros(len(models), 3, dtype=torch.float64)
    masked_tokens = 0
    for sample in batches:
        if device.type == "cuda":
            sample = utils.move_to_cuda(sample, device)
        positions = sample["positions"]["masked"]
        targets = sample["target"].flatten()[positions]
        masked_tokens += len(targets)
        reference_choice = None
        for row, model in zip(sums, models, strict=True):
            logits = _masked_logits(model, sample["net_input"], positions)
            first_choice = logits.argmax(-1)
            reference_choice = first_choice if reference_choice is None else reference_choice
            row[0] += F.cross_entropy(logits, targets, reduction="sum").double().cpu()
            row[1] += first_choice.eq(targets).sum().cpu()
            row[2] += first_choice.eq(reference_choice).sum().cpu()
    if masked_tokens == 0:
        raise UserError("no token of the data is masked, so that nothing can be measured; evaluate on more text")
    means = (sums / masked_tokens).tolist()
    return [MaskedLMResult(math.exp(nats), accuracy, agreement) for nats, accuracy, agreement in means]


def _masked_logits(model: nn.Module, net_input: dict[str, Any], positions: Tensor) -> Tensor:
    hidden = model(**net_input, features_only=True)[0].flatten(0, 1)[positions]
    return model.vocabulary_projection(hidden).logits().float()
