"""How large and how fast encoders are."""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from fairseq_distil.models import DistilEncoderModel

from .latency import median_latencies


@dataclass(frozen=True)
class ModelSize:
    """What was measured of one encoder, its heads left out."""

    name: str
    layers: int
    parameters: int
    megabytes: float
    """size of its weights in a file"""
    latency: float
    """median seconds for one sequence, on the CPU"""


def model_sizes(models: Mapping[str, DistilEncoderModel], length: int) -> list[ModelSize]:
    """Measure encoders by name, in evaluation mode and on the CPU.

    Args:
        models: by name
        length: tokens of the sequence whose latency is measured
    """
    latencies = median_latencies(list(models.values()), length)
    return [
        ModelSize(
            name=name,
            layers=model.config.layers,
            parameters=count_parameters(model.encoder),
            megabytes=saved_megabytes(model.encoder),
            latency=latency,
        )
        for (name, model), latency in zip(models.items(), latencies, strict=True)
    ]


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def saved_megabytes(model: nn.Module) -> float:
    """Size of the weights in a file."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return buffer.tell() / 1e6
