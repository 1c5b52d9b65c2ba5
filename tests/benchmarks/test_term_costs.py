"""Turns and percentages on fixed numbers."""

from fairseq_distil.benchmarks.term_costs import cost_summary, take_turns


def test_who_goes_first_changes() -> None:
    asked: list[str] = []

    def measure(name: str) -> dict:
        asked.append(name)
        return {"seconds_per_step": float(len(asked))}

    first, second = take_turns(measure, 2)
    assert asked == ["none", "hidden", "relations", "narrower", "hidden", "relations", "narrower", "none"]
    assert (first["relations"], second["none"]) == ({"seconds_per_step": 3.0}, {"seconds_per_step": 8.0})


def test_percentages_are_of_the_published_step_in_the_same_turn() -> None:
    seconds = [
        {"none": 2.0, "hidden": 2.2, "relations": 3.0, "narrower": 1.0},
        {"none": 4.0, "hidden": 4.0, "relations": 5.0, "narrower": 3.0},
        {"none": 2.0, "hidden": 2.1, "relations": 2.0, "narrower": 1.5},
    ]
    found = cost_summary([{name: {"seconds_per_step": s} for name, s in turn.items()} for turn in seconds])
    assert found["turns"] == 3
    assert found["seconds_per_step"]["none"] == {"median": 2.0, "min": 2.0, "max": 4.0}
    assert found["percent_of_published_step"] == {
        "hidden": {"median": 5.0, "min": 0.0, "max": 10.0},
        "relations": {"median": 25.0, "min": 0.0, "max": 50.0},
        "narrower": {"median": -25.0, "min": -50.0, "max": -25.0},
    }
