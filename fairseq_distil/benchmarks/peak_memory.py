"""The most memory that a process had."""

import re
import resource
import sys
from pathlib import Path

import torch

BYTES_OF_MAXRSS = 1 if sys.platform == "darwin" else 1024


def peak_mib(device: str) -> float:
    """Peak in MiB: of the GPU's allocator, or the resident set of this process."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return _resident_of_this_process()


def peak_mib_of_children() -> float:
    """The resident set of the largest of the processes that this one started and saw end, in MiB."""
    return _resident(resource.RUSAGE_CHILDREN)


def _resident_of_this_process() -> float:
    """Not what the system tells of the process, which on Linux begins at the peak of the process that started it."""
    try:
        return int(re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)[1]) / 1024
    except (OSError, TypeError):
        return _resident(resource.RUSAGE_SELF)


def _resident(whose: int) -> float:
    return resource.getrusage(whose).ru_maxrss * BYTES_OF_MAXRSS / 2**20
