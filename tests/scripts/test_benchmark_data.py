"""The benchmark of masking and collation as a command."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_data.py"


def test_a_line_for_each_and_their_ratio(run_script: Callable) -> None:
    result = run_script(SCRIPT, "--batch", "2", "--length", "8", "--vocab", "30", "--batches", "3")
    assert result.returncode == 0, result.stderr
    ours, fairseqs, ratio = map(json.loads, result.stdout.splitlines())
    expected = fairseqs["masking_and_collation_ms"] / ours["masking_and_collation_ms"]
    assert ratio["fairseq_time_over_ours"] == pytest.approx(expected, abs=0.01)


def test_mistakes_are_one_line_and_status_2(run_script: Callable) -> None:
    result = run_script(SCRIPT, "--length", "2")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: --length is 2, but must be at least 3\n"
