"""Times of batches on fixed numbers, and both pipelines on real data."""

import pytest

from fairseq_distil.benchmarks.collation import WARM_UP_BATCHES, collation_record, measure_collation, time_in_turn
from fairseq_distil.benchmarks.data_command import fairseq_time_over_ours
from fairseq_distil.errors import UserError


def test_actions_take_turns_and_warm_up() -> None:
    calls = []
    moments = iter(range(1000))
    actions = {name: lambda group, name=name: calls.append((name, *group)) for name in ("a", "b")}
    groups = [range(n, n + 2) for n in range(WARM_UP_BATCHES + 3)]
    found = time_in_turn(actions, groups, now=lambda: next(moments))
    assert found == {"a": [1, 1, 1], "b": [1, 1, 1]}
    assert calls[:4] == [("a", 0, 1), ("b", 0, 1), ("a", 1, 2), ("b", 1, 2)]


def test_reading_is_taken_out_batch_by_batch() -> None:
    assert collation_record("ours", [0.005, 0.004, 0.009], [0.001, 0.002, 0.001]) == {
        "system": "ours",
        "masking_and_collation_ms": 4.0,
        "min_ms": 2.0,
        "max_ms": 8.0,
        "with_reading_ms": 5.0,
    }


def test_the_ratio_of_two_records() -> None:
    fairseqs = {"masking_and_collation_ms": 3.0}
    assert fairseq_time_over_ours({"masking_and_collation_ms": 0.5}, fairseqs) == 6
    for none in (0.0, -0.25):
        with pytest.raises(UserError, match=f"took {none} ms, too little to measure; raise --batch or --length"):
            fairseq_time_over_ours({"masking_and_collation_ms": none}, fairseqs)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # fairseq's way of copying predates numpy 2
def test_both_pipelines() -> None:
    ours, fairseqs = measure_collation(vocabulary_size=60, batch=3, length=9, batches=2)
    assert (ours["system"], fairseqs["system"]) == ("fairseq_distil", "fairseq")
    assert ours.keys() == fairseqs.keys()
    assert (ours["batch"], ours["length"], ours["vocab"], ours["batches"]) == (3, 9, 60, 2)
