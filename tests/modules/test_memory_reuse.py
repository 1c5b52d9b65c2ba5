import ctypes
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from fairseq_distil.modules import keep_released_memory

MODULE = Path(__file__).parents[2] / "fairseq_distil" / "modules" / "memory_reuse.py"
FAULTS = """
import resource, runpy, sys, torch

if sys.argv[1] == "keep":
    assert runpy.run_path(sys.argv[2])["keep_released_memory"]()
def page_faults_of_tensors():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(12):
        torch.ones(16 * 2**20)  # 64 MiB, more than glibc ever learns to keep by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

page_faults_of_tensors()  # until the heap is as large as it will be
print(page_faults_of_tensors())
"""


def page_faults(how: str) -> int:
    """Of twelve tensors, in a process of its own, for a fork has the heap of its parent."""
    command = [sys.executable, "-c", FAULTS, how, MODULE]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_released_memory_is_used_again() -> None:
    pages = 12 * 64 * 2**20 // resource.getpagesize()
    assert page_faults("release") >= pages
    assert page_faults("keep") < 0.01 * pages


def test_another_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_released_memory.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert keep_released_memory() is False
    keep_released_memory.cache_clear()
