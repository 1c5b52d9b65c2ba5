import ctypes
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from fairseq_distil.modules import keep_released_memory

FAULTS = """
import resource, sys, torch
from fairseq_distil.modules import keep_released_memory

if sys.argv[1] == "keep":
    assert keep_released_memory()
for _ in range(12):
    torch.ones(16 * 2**20)  # 64 MiB, more than glibc ever learns to keep by itself
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_released_memory_is_used_again(run_script: Callable, tmp_path: Path) -> None:
    script = tmp_path / "faults.py"
    script.write_text(FAULTS)
    keep, release = (int(run_script(script, how).stdout) for how in ("keep", "release"))
    pages = 64 * 2**20 // resource.getpagesize()
    # All but the first of the twelve tensors come without page faults; the padding of the heap may touch some.
    assert keep < release - 6 * pages


def test_another_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_released_memory.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert keep_released_memory() is False
    keep_released_memory.cache_clear()
