"""Curves as a command, and their picture."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from fairseq_distil.benchmarks.curves import percent_from, print_curves, require_suitable
from fairseq_distil.benchmarks.curves_plot import draw_curves
from fairseq_distil.errors import UserError


def test_distances() -> None:
    assert percent_from([2.0, 4.0], [2.1, 3.0]) == pytest.approx([5.0, -25.0])


def test_records_and_picture(tiny_case: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_curves(tiny_case(), 2, tmp_path / "curves.png")
    *curves, last = map(json.loads, capsys.readouterr().out.splitlines())
    plain, *others = (record["curve"] for record in curves)
    assert (plain, others) == ("float32 without fast paths", ["float32", "bfloat16 without fast paths", "bfloat16"])
    assert [len(record["losses"]) for record in curves] == [2, 2, 2, 2]
    assert last["updates"] == 2
    assert last["most_percent_from_the_first"] == {
        record["curve"]: max(map(abs, percent_from(curves[0]["losses"], record["losses"]))) for record in curves
    }
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_the_picture_of_curves(tmp_path: Path) -> None:
    output = tmp_path / "new" / "curves.png"
    draw_curves({"one": [3.0, 2.0], "two": [3.0, 2.1], "three": [3.1, 2.0], "four": [3.1, 2.1]}, output)
    with Image.open(output) as image:
        image.load()
        assert (image.format, image.size) == ("PNG", (880, 330))


@pytest.mark.parametrize(
    ("settings", "updates", "message"),
    [
        ({}, 1, "--curves is 1, but a curve has at least 2 updates"),
        ({"dtype": "bfloat16"}, 9, "--curves distils in both types by the bare step; leave --dtype, --loop, --obj"),
        ({"loop": "fairseq-train"}, 9, "by the bare step"),
        ({"objective": "masked_lm"}, 9, "--objective and --padding out"),
        ({"vocab": 12}, 9, "--vocab is 12, but --curves needs at least 13 for its data"),
    ],
)
def test_what_has_no_curves(tiny_case: Callable, settings: dict, updates: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        require_suitable(tiny_case(**settings), updates)
