"""Masked-LM quality of several encoders on the same masks."""

import math
from collections.abc import Callable, Sequence
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
def evaluate_masked_lm(
    models: Sequence[nn.Module],
    batches: Sequence[dict[str, Any]],
    device: str = "cpu",
    after_batch: Callable[[], object] = lambda: None,
) -> list[MaskedLMResult]:
    """Evaluate encoders in evaluation mode, the first of which is the reference that the others are compared with.

    Args:
        models: ``distil_encoder`` models with one vocabulary, on the CPU
        batches: collated by a :class:`~fairseq_distil.data.masked_lm_dataset.MaskedLMDataset`
        device: where one model at a time computes
        after_batch: called after each batch of each model

    Raises:
        UserError: no token of the batches is masked
    """
    masked_tokens = sum(len(sample["positions"]["masked"]) for sample in batches)
    if masked_tokens == 0:
        raise UserError("no token of the data is masked, so that nothing can be measured; evaluate on more text")
    results, reference_choices = [], []
    for model in models:
        sums = torch.zeros(3, dtype=torch.float64)
        model.to(device)
        for number, sample in enumerate(batches):
            nats, correct, first_choice = _on_masked_tokens(model, sample, device)
            if model is models[0]:
                reference_choices.append(first_choice)
            sums += torch.stack([nats, correct, first_choice.eq(reference_choices[number]).sum()])
            after_batch()
        model.cpu()
        nats, accuracy, agreement = (sums / masked_tokens).tolist()
        results.append(MaskedLMResult(math.exp(nats), accuracy, agreement))
    return results


def _on_masked_tokens(model: nn.Module, sample: dict[str, Any], device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of the cross-entropy and of correct first choices, and the first choices; on the CPU."""
    if device != "cpu":
        sample = utils.move_to_cuda(sample, torch.device(device))
    positions = sample["positions"]["masked"]
    targets = sample["target"].flatten()[positions]
    logits = _masked_logits(model, sample["net_input"], positions)
    first_choice = logits.argmax(-1)
    nats = F.cross_entropy(logits, targets, reduction="sum").double()
    return nats.cpu(), first_choice.eq(targets).sum().cpu(), first_choice.cpu()


def _masked_logits(model: nn.Module, net_input: dict[str, Any], positions: Tensor) -> Tensor:
    hidden = model(**net_input, features_only=True)[0].flatten(0, 1)[positions]
    return model.vocabulary_projection(hidden).logits().float()
