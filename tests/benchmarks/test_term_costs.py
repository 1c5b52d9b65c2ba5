"""Turns and percentages on fixed numbers."""

from fairseq_distil.benchmarks.additions import ADDED
from fairseq_distil.benchmarks.term_costs import cost_summary, take_turns


def test_who_goes_first_changes() -> None:
    asked: list[str] = []

    def measure(name: str) -> dict:
        asked.append(name)
        return {"seconds_per_step": float(len(asked))}

    first, second = take_turns(measure, 2)
    assert asked[: len(ADDED)] == list(ADDED)
    assert asked[len(ADDED) :] == [*list(ADDED)[1:], "none"]
    assert (first["none"], second["none"]) == ({"seconds_per_step": 1.0}, {"seconds_per_step": 2.0 * len(ADDED)})


def test_percentages_are_of_the_published_step_in_the_same_turn() -> None:
    seconds = [
        {"none": 2.0, "hidden": 2.2, "narrower": 1.0},
        {"none": 4.0, "hidden": 4.0, "narrower": 3.0},
        {"none": 2.0, "hidden": 2.1, "narrower": 1.5},
    ]
    turns = [{name: {"seconds_per_step": turn.get(name, turn["none"])} for name in ADDED} for turn in seconds]
    found = cost_summary(turns)
    assert found["turns"] == 3
    assert found["seconds_per_step"]["none"] == {"median": 2.0, "min": 2.0, "max": 4.0}
    percent = found["percent_of_published_step"]
    assert percent.keys() == ADDED.keys() - {"none"}
    assert percent["hidden"] == {"median": 5.0, "min": 0.0, "max": 10.0}
    assert percent["narrower"] == {"median": -25.0, "min": -50.0, "max": -25.0}
    assert percent["second-teacher"] == {"median": 0.0, "min": 0.0, "max": 0.0}
