"""What each addition to the published objective costs, as a part of the step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .additions import ADDED
from .pairs import spread

PUBLISHED = "none"
Records = Mapping[str, Mapping[str, Any]]
"""One of the published step, and one of each addition."""


def take_turns(measure: Callable[[str], dict[str, Any]], turns: int) -> Iterator[Records]:
    """Yield the records of each turn. Who goes first changes from turn to turn, so that a drift of the machine cancels.

    Args:
        measure: makes the record of an addition
        turns: of each
    """
    names = list(ADDED)
    for turn in range(turns):
        first = turn % len(names)
        yield {name: measure(name) for name in [*names[first:], *names[:first]]}


def cost_summary(turns: Sequence[Records]) -> dict[str, Any]:
    """Seconds and, by which part of the published step each addition is slower in the same turn, percent.

    A narrower student computes less, so that its percentage may be negative.
    """
    seconds = {name: [records[name]["seconds_per_step"] for records in turns] for name in ADDED}
    published = seconds[PUBLISHED]
    return {
        "turns": len(turns),
        "seconds_per_step": {name: spread(values) for name, values in seconds.items()},
        "percent_of_published_step": {
            name: spread([100 * (own / base - 1) for own, base in zip(values, published, strict=True)], digits=1)
            for name, values in seconds.items()
            if name != PUBLISHED
        },
    }
