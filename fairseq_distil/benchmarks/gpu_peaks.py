"""What the makers of GPUs say that these multiply at most, which model FLOP utilisation is a part of."""

from typing import NamedTuple

import torch


class Peak(NamedTuple):
    """Of dense matrices, in TFLOP/s."""

    bfloat16: float
    """bfloat16, summed in float32"""
    float32: float
    """float32, without TF32, which torch does not use by default"""


PEAKS = {
    "H200 NVL": Peak(835.5, 60.0),
    "H200": Peak(989.4, 66.9),
    "H100 NVL": Peak(835.5, 60.0),
    "H100 PCIe": Peak(756.0, 51.2),
    "H100": Peak(989.4, 66.9),
    "A100": Peak(312.0, 19.5),
    "A40": Peak(149.7, 37.4),
    "A30": Peak(165.0, 10.3),
    "A10": Peak(125.0, 31.2),
    "L40S": Peak(362.0, 91.6),
    "L4": Peak(121.0, 30.3),
}
"""By a part of the name that torch has for the GPU; the first that fits."""


def stated_flops(gpu: str, dtype: torch.dtype) -> float | None:
    """Operations a second by the data sheet.

    Args:
        gpu: its name, such as ``NVIDIA A100-SXM4-80GB``
        dtype: of the factors

    Returns:
        None where they are not known here
    """
    words = gpu.replace("-", " ").split()
    for name, peak in PEAKS.items():
        if set(name.split()) <= set(words):
            return 1e12 * (peak.float32 if dtype == torch.float32 else peak.bfloat16)
    return None
