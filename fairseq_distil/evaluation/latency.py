"""How long one sequence takes."""

import statistics
import time

import torch
from torch import nn


@torch.inference_mode()
def median_latencies(models: list[nn.Module], length: int, rounds: int = 30) -> list[float]:
    """Median seconds to encode one sequence of ``length`` tokens on the CPU, the models taking turns.

    Args:
        models: ``distil_encoder`` models in evaluation mode, on the CPU
        length: tokens
        rounds: measurements of each model, after three to warm up
    """
    vocabulary_size = models[0].config.vocabulary_size
    tokens = torch.arange(length)[None] % (vocabulary_size - 4) + 4
    seconds: list[list[float]] = [[] for _ in models]
    for _ in range(3 + rounds):
        for model, measured in zip(models, seconds, strict=True):
            start = time.perf_counter()
            model(tokens, features_only=True, has_padding=False)
            measured.append(time.perf_counter() - start)
    return [statistics.median(measured[3:]) for measured in seconds]
