"""An objective whose weights and temperature change over the updates."""

from collections.abc import Callable

import pytest
from fairseq.logging import metrics

from fairseq_distil.criterions import DistillationCriterion
from fairseq_distil.errors import UserError


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


def test_validation_has_the_last_values_whatever_the_update(distillation_run: Callable) -> None:
    """Or losses that are compared, to choose the best checkpoint, would be of different objectives."""
    schedules = "soft_target_temperature=linear:4:3:10,mlm_weight=cosine:0.1:0.7:10,cosine_weight=linear:1:0:10"
    run = distillation_run({"schedules": schedules})
    last = distillation_run({"soft_target_temperature": 3.0, "mlm_weight": 0.7, "cosine_weight": 0.0})
    sample = run.batch()
    last.model.load_state_dict(run.model.state_dict())
    expected = last.criterion(last.model.eval(), sample)[0].item()
    for update in (0, 5, 10, 100):
        run.model.set_num_updates(update)
        loss, _, log = run.criterion(run.model.eval(), sample)
        assert loss.item() == pytest.approx(expected, rel=1e-6)
        assert "cosine_loss" in log and not any(key.startswith("scheduled_") for key in log)
    run.model.set_num_updates(0)
    run.model.train()
    assert run.criterion(run.model, sample)[0].item() != pytest.approx(expected, rel=0.01)
