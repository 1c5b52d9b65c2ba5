"""What is printed is JSON."""

import json
import math

import pytest

from fairseq_distil.benchmarks.pairs import summary
from fairseq_distil.benchmarks.printed_record import print_record
from fairseq_distil.errors import UserError


def test_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_record({"seconds_per_step": 0.5, "mfu_percent": None})
    assert json.loads(capsys.readouterr().out) == {"seconds_per_step": 0.5, "mfu_percent": None}


def ratio_over_next_to_nothing() -> dict:
    return summary([({"seconds_per_step": 5e-324, "peak_mib": 1}, {"seconds_per_step": 1.0, "peak_mib": 1})])


@pytest.mark.parametrize(
    "record",
    [{"last_loss": math.nan}, {"max": math.inf}, ratio_over_next_to_nothing()],
    ids=["NaN", "infinity", "ratio"],
)
def test_numbers_that_are_not_finite(record: dict, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="a number that was measured, or a ratio of two, is not finite"):
        print_record(record)
    assert capsys.readouterr().out == ""
