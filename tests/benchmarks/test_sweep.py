"""Sweeps and their picture."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from fairseq_distil.benchmarks.cost_plot import draw
from fairseq_distil.benchmarks.sweep import parse_sweep, sweep_cases
from fairseq_distil.errors import UserError


def test_values_of_a_sweep(tiny_case: Callable) -> None:
    assert parse_sweep("batch") == ("batch", (4, 8, 16, 32))
    assert parse_sweep("length=8,24") == ("length", (8, 24))
    cases = sweep_cases(tiny_case(), "length", (8, 24))
    assert cases == [tiny_case(length=8), tiny_case(length=24)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depth", "--sweep depth: choose from batch, length, vocab, layers, or give NAME=VALUE,VALUE"),
        ("batch=1,two", "--sweep batch=1,two: expected whole numbers separated by commas after batch="),
        ("batch=", "--sweep batch=: expected whole numbers"),
        ("batch=1,2,1", "--sweep batch=1,2,1: a value comes twice"),
    ],
)
def test_what_is_no_sweep(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_sweep(text)


def test_one_column_a_size(tmp_path: Path) -> None:
    def records(name: str) -> list[dict]:
        return [{name: n, "seconds_per_step": n / 2, "limit_seconds": n / 4, "peak_mib": 100 * n} for n in (2, 4)]

    output = tmp_path / "new" / "cost.png"
    draw({"batch": records("batch"), "length": records("length")}, output)
    with Image.open(output) as image:
        image.load()
        assert (image.format, image.size) == ("PNG", (2 * 440, 660))
    assert [path.name for path in output.parent.iterdir()] == ["cost.png"]
