"""Data sheets by the names that torch has for GPUs."""

import pytest
import torch

from fairseq_distil.benchmarks.gpu_peaks import stated_flops


@pytest.mark.parametrize(
    ("gpu", "dtype", "flops"),
    [
        ("NVIDIA H100 80GB HBM3", torch.bfloat16, 989.4e12),
        ("NVIDIA H100 PCIe", torch.bfloat16, 756e12),
        ("NVIDIA H200", torch.float32, 66.9e12),
        ("NVIDIA A100-SXM4-80GB", torch.bfloat16, 312e12),
        ("NVIDIA A100 80GB PCIe", torch.float32, 19.5e12),
        ("NVIDIA L40S", torch.bfloat16, 362e12),
        ("NVIDIA A10G", torch.bfloat16, None),
        ("", torch.float32, None),
    ],
)
def test_stated_flops(gpu: str, dtype: torch.dtype, flops: float | None) -> None:
    assert stated_flops(gpu, dtype) == pytest.approx(flops)
