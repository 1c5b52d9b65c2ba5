"""Peaks of a process, from a small process that a large one starts."""

import subprocess
import sys

import numpy as np

from fairseq_distil.benchmarks import peak_memory
from fairseq_distil.benchmarks.peak_memory import peak_mib, peak_mib_of_children

BALLAST_MIB = 300


def test_the_peak_does_not_begin_at_that_of_the_process_which_started_it() -> None:
    before = peak_mib("cpu")
    ballast = np.ones((BALLAST_MIB, 2**20), np.uint8)
    mine = peak_mib("cpu")
    assert mine >= ballast.nbytes / 2**20
    tell = f"import runpy; print(runpy.run_path({peak_memory.__file__!r})['peak_mib']('cpu'))"
    found = float(subprocess.run([sys.executable, "-c", tell], capture_output=True, text=True, check=True).stdout)
    assert 20 < found < mine - BALLAST_MIB / 2
    assert peak_mib_of_children() > found
    assert peak_mib("cpu") >= mine >= before
