"""The benchmark of masking and collation as a command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_data.py"


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True)


def test_a_line_for_each_and_their_ratio() -> None:
    result = run_script("--batch", "2", "--length", "8", "--vocab", "30", "--batches", "3")
    assert result.returncode == 0, result.stderr
    ours, fairseqs, ratio = map(json.loads, result.stdout.splitlines())
    expected = fairseqs["masking_and_collation_ms"] / ours["masking_and_collation_ms"]
    assert ratio["fairseq_time_over_ours"] == pytest.approx(expected, abs=0.01)


def test_mistakes_are_one_line_and_status_2() -> None:
    result = run_script("--length", "2")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: --length is 2, but must be at least 3\n"
