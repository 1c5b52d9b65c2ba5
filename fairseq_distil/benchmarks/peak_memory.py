"""The most memory that a process had."""

import resource
import sys

import torch

BYTES_OF_MAXRSS = 1 if sys.platform == "darwin" else 1024


def peak_mib(device: str) -> float:
    """Peak in MiB: of the GPU's allocator, or the resident set of this process."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return _resident(resource.RUSAGE_SELF)


def peak_mib_of_children() -> float:
    """The resident set of the largest of the processes that this one started and saw end, in MiB."""
    return _resident(resource.RUSAGE_CHILDREN)


def _resident(whose: int) -> float:
    return resource.getrusage(whose).ru_maxrss * BYTES_OF_MAXRSS / 2**20
