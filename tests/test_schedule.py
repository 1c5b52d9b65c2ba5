"""Settings that change over the updates."""

import math

import pytest

from fairseq_distil.criterions.settings import require_temperature
from fairseq_distil.errors import UserError
from fairseq_distil.schedule import Schedule, parse_schedule, parse_schedules


@pytest.mark.parametrize(
    ("shape", "values"),
    [
        ("linear", {0: 4.0, 25: 3.25, 50: 2.5, 100: 1.0, 101: 1.0, 9999: 1.0}),
        ("cosine", {0: 4.0, 25: 4 - 1.5 * (1 - math.sqrt(0.5)), 50: 2.5, 100: 1.0, 9999: 1.0}),
    ],
)
def test_values(shape: str, values: dict[int, float]) -> None:
    schedule = Schedule(shape, 4.0, 1.0, 100)
    assert {update: schedule(update) for update in values} == pytest.approx(values)


@pytest.mark.parametrize(("text", "expected"), [("constant:0", True), ("linear:2:2:9", True), ("cosine:2:1:9", False)])
def test_is_constant(text: str, expected: bool) -> None:
    assert parse_schedule("task.option", text, lambda value: None).is_constant is expected


def test_a_constant() -> None:
    schedule = parse_schedule("task.option", "constant:0.3", lambda value: None)
    assert [schedule(update) for update in (0, 1, 9999)] == [0.3, 0.3, 0.3]


def test_parsing() -> None:
    checks = {"a": lambda value: None, "b": lambda value: None}
    assert parse_schedules("criterion.option", "a=linear:0:1.5:7, b=cosine:2:1e-1:30", checks) == {
        "a": Schedule("linear", 0.0, 1.5, 7),
        "b": Schedule("cosine", 2.0, 0.1, 30),
    }
    assert parse_schedules("criterion.option", None, checks) == parse_schedules("criterion.option", "", checks) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c=linear:0:1:7", "criterion.option: no setting 'c'; choose from temperature$"),
        ("temperature=linear:1:2:7,temperature=linear:1:2:7", "criterion.option: temperature is there twice"),
        (
            "temperature=square:1:2:7",
            "criterion.option: temperature: 'square:1:2:7' is not constant:VALUE, or SHAPE:FIRST:LAST:UPDATES with a",
        ),
        ("temperature=linear:1:2", "'linear:1:2' is not constant:VALUE"),
        ("temperature=linear:1:2:0", "'linear:1:2:0' is not constant:VALUE"),
        ("temperature=constant:1:2:9", "'constant:1:2:9' is not constant:VALUE"),
        ("temperature=constant", "'constant' is not constant:VALUE"),
        ("temperature", "'' is not constant:VALUE"),
        (
            "temperature=linear:2:0:7",
            "criterion.option: temperature linear:2:0:7: criterion.soft_target_temperature is 0.0, but must be",
        ),
        ("temperature=linear:nan:1:7", "criterion.option: temperature linear:nan:1:7: .* is nan"),
        ("temperature=constant:-1", "criterion.option: temperature constant:-1: .* is -1.0"),
        ("mask_prob=constant:0.3", r"mask_prob has a schedule of its own, --mask-prob-schedule \(task.mask_prob_sch"),
    ],
)
def test_what_is_no_schedule(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_schedules("criterion.option", text, {"temperature": require_temperature})
