"""The soft targets of several teachers: a mixture of their distributions."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def mixed_logits(teacher_logits: Sequence[Tensor], weights: Sequence[float], temperature: float) -> Tensor:
    """Logits whose softmax at the temperature is the weighted mean of the teachers' softmaxes at the temperature.

    A mean of logits would be another distribution, the normalised product. The mean is taken of logarithms, so that no
    word's probability becomes 0.

    Args:
        teacher_logits: of each teacher, float32 ``(rows, vocab)``; those of several are overwritten
        weights: part of each teacher, positive; they add up to 1
        temperature: T, positive

    Returns:
        ``(rows, vocab)``; a single teacher's as they are
    """
    if len(teacher_logits) == 1:
        return teacher_logits[0]
    for logits, weight in zip(teacher_logits, weights, strict=True):
        logits.mul_(1 / temperature)
        logits.sub_(logits.logsumexp(-1, keepdim=True) - math.log(weight))
    mixture, *others = teacher_logits
    for logits in others:
        torch.logaddexp(mixture, logits, out=mixture)
    return mixture.mul_(temperature)
