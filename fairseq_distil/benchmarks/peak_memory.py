"""The most memory that a process had."""

import resource
import sys

import torch

BYTES_OF_MAXRSS = 1 if sys.platform == "darwin" else 1024


def peak_mib(device_type: str, children: bool = False) -> float:
    """Peak in MiB: of the GPU's allocator, or the resident set of this process or of the largest of its children."""
    if device_type == "cuda" and not children:
        return torch.cuda.max_memory_allocated() / 2**20
    usage = resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF)
    return usage.ru_maxrss * BYTES_OF_MAXRSS / 2**20
