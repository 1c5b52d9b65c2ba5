"""Settings that change over the updates: weights of terms, the temperature, the rate of masks."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fairseq_distil.errors import UserError, naming

SHAPES: dict[str, Callable[[float], float]] = {
    "linear": lambda part: part,
    "cosine": lambda part: (1 - math.cos(math.pi * part)) / 2,
}
"""How much of the way from the first value to the last is made in a part of the updates."""
SYNTAX = f"constant:VALUE, or SHAPE:FIRST:LAST:UPDATES with a shape of {', '.join(SHAPES)}, such as linear:1:0:5000"


@dataclass(frozen=True)
class Schedule:
    """A value that goes from ``first`` to ``last`` in ``updates``, and stays there."""

    shape: str
    first: float
    last: float
    updates: int

    def __call__(self, update: float) -> float:
        """The value after ``update`` updates, of which there may be infinitely many.

        It is a function of their number alone, so that a run that resumes goes on with it.
        """
        return self.first + (self.last - self.first) * SHAPES[self.shape](min(1.0, update / self.updates))

    @property
    def is_constant(self) -> bool:
        """Whether no update changes the value."""
        return self.first == self.last

    def has_faded(self, update: float) -> bool:
        """Whether the value is 0 after ``update`` updates, and stays so."""
        return self.last == 0 and update >= self.updates


def parse_schedule(option: str, text: str, check: Callable[[float], None]) -> Schedule:
    """Read ``SHAPE:FIRST:LAST:UPDATES``, such as ``linear:0.3:0.15:10000``, or ``constant:VALUE``.

    Args:
        option: what messages call it
        text: the schedule
        check: what raises where a value is out of range

    Raises:
        UserError: it is no schedule, or a value is out of range
    """
    shape, *values = text.replace(" ", "").split(":")
    try:
        if shape == "constant":
            (value,) = map(float, values)
            schedule = Schedule("linear", value, value, 1)
        else:
            first, last, updates = values
            schedule = Schedule(shape, float(first), float(last), int(updates))
    except ValueError:
        schedule = None
    if schedule is None or schedule.shape not in SHAPES or schedule.updates < 1:
        raise UserError(f"{option}: {text!r} is not {SYNTAX}")
    with naming(f"{option} {text}"):
        check(schedule.first)
        check(schedule.last)
    return schedule


def parse_schedules(
    option: str, text: str | None, checks: Mapping[str, Callable[[float], None]]
) -> dict[str, Schedule]:
    """Read ``NAME=SCHEDULE``, separated by commas, such as ``cosine_weight=linear:1:0:5000``.

    Args:
        option: what messages call them
        text: the schedules; None or empty: there are none
        checks: what raises where a value is out of range, by the names of the settings that may be scheduled

    Raises:
        UserError: it is no such list, names a setting twice or another one, or a value is out of range
    """
    schedules: dict[str, Schedule] = {}
    for entry in filter(None, (text or "").replace(" ", "").split(",")):
        name, _, value = entry.partition("=")
        if name == "mask_prob":
            raise UserError(
                f"{option}: {name} has a schedule of its own, --mask-prob-schedule (task.mask_prob_schedule)"
            )
        if name not in checks:
            raise UserError(f"{option}: no setting {name!r}; choose from {', '.join(checks)}")
        if name in schedules:
            raise UserError(f"{option}: {name} is there twice")
        schedules[name] = parse_schedule(f"{option}: {name}", value, checks[name])
    return schedules
