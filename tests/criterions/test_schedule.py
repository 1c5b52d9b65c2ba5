"""Settings that change over the updates."""

import math
from collections.abc import Callable

import pytest
from fairseq.logging import metrics

from fairseq_distil.criterions import DistillationCriterion
from fairseq_distil.criterions.schedule import Schedule, parse_schedules
from fairseq_distil.criterions.settings import require_temperature
from fairseq_distil.errors import UserError


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


def test_parsing() -> None:
    checks = {"a": lambda value: None, "b": lambda value: None}
    assert parse_schedules("a=linear:0:1.5:7, b=cosine:2:1e-1:30", checks) == {
        "a": Schedule("linear", 0.0, 1.5, 7),
        "b": Schedule("cosine", 2.0, 0.1, 30),
    }
    assert parse_schedules(None, checks) == parse_schedules("", checks) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c=linear:0:1:7", "criterion.schedules: no setting 'c'; choose from temperature$"),
        ("temperature=linear:1:2:7,temperature=linear:1:2:7", "criterion.schedules: temperature is there twice"),
        ("temperature=square:1:2:7", "'temperature=square:1:2:7' is not NAME=SHAPE:FIRST:LAST:UPDATES with a shape of"),
        ("temperature=linear:1:2", "is not NAME=SHAPE:FIRST:LAST:UPDATES"),
        ("temperature=linear:1:2:0", "is not NAME=SHAPE:FIRST:LAST:UPDATES"),
        ("temperature", "is not NAME=SHAPE:FIRST:LAST:UPDATES"),
        ("temperature=linear:2:0:7", "criterion.soft_target_temperature is 0.0, but must be positive"),
        ("temperature=linear:nan:1:7", "criterion.soft_target_temperature is nan"),
    ],
)
def test_what_is_no_schedule(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_schedules(text, {"temperature": require_temperature})


def test_the_objective_follows_them(distillation_run: Callable) -> None:
    """At each update it is that of a criterion whose settings have these values."""
    schedules = "soft_target_temperature=linear:4:2:10,cosine_weight=linear:0:2:10"
    run = distillation_run({"cosine_weight": 0.0, "schedules": schedules})
    sample = run.batch()
    for update, temperature, cosine_weight in ((0, 4.0, 0.0), (5, 3.0, 1.0), (10, 2.0, 2.0), (11, 2.0, 2.0)):
        run.model.set_num_updates(update)
        loss, sample_size, log = run.criterion(run.model, sample)
        constant = {"soft_target_temperature": temperature, "cosine_weight": cosine_weight}
        other = distillation_run(constant)
        other.model.load_state_dict(run.model.state_dict())
        assert loss.item() == pytest.approx(other.criterion(other.model, sample)[0].item(), rel=1e-5)
        assert log["scheduled_cosine_weight"] == pytest.approx(cosine_weight * sample_size)


def test_the_log_tells_them(distillation_run: Callable) -> None:

    run = distillation_run({"schedules": "mlm_weight=cosine:2:1:10"})
    run.model.set_num_updates(5)
    logs = [run.criterion(run.model, run.batch(indices=rows))[2] for rows in ([0, 1], [2])]
    with metrics.aggregate(new_root=True) as aggregator:
        DistillationCriterion.reduce_metrics(logs)
    assert aggregator.get_smoothed_values()["scheduled_mlm_weight"] == 1.5


def test_a_scheduled_term_needs_what_it_needs(distillation_run: Callable, teacher_run) -> None:
    run = distillation_run(
        {"soft_target_weight": 0.0, "cosine_weight": 0.0, "schedules": "cosine_weight=linear:0:1:10"}
    )._replace(model=teacher_run.model)
    with pytest.raises(UserError, match="the terms of criterion.cosine_weight need a teacher"):
        run.criterion(run.model, run.batch(indices=[0]))
