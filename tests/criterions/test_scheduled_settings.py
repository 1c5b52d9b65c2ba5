"""An objective whose weights and temperature change over the updates."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fairseq.logging import metrics
from torch import Tensor

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


FADING = {
    "cosine_weight": {},
    "hidden_weight": {"hidden_layer_pairs": "1:1,2:3"},
    "relation_weight": {"relation_heads": 4},
    "soft_target_weight": {},
    "mlm_weight": {},
}


def gradients(run: Any) -> tuple[dict[str, Tensor | None], dict[str, Any]]:
    run.model.zero_grad()
    run.criterion.zero_grad()
    loss, _, log = run.criterion(run.model, run.batch())
    loss.backward()
    return {name: p.grad for part in (run.model, run.criterion) for name, p in part.named_parameters()}, log


@pytest.mark.parametrize("name", FADING)
def test_a_term_that_has_faded_is_as_one_without_weight(distillation_run: Callable, name: str) -> None:
    """But what it read keeps a gradient, and the log of training does not tell it."""
    narrow = {"encoder_embed_dim": 8}
    weights = {"hidden_weight": 0.5, "relation_weight": 0.5, name: 1.0, **FADING[name]}
    fading = distillation_run(weights | {"schedules": f"{name}=linear:1:0:10"}, narrow, sample_break_mode="eos")
    constant = distillation_run(weights | {"schedules": f"{name}=linear:0:1:10"}, narrow, sample_break_mode="eos")
    constant.model.load_state_dict(fading.model.state_dict())
    constant.model.set_num_updates(0)  # its weight is 0, but not for good: it is computed
    fading.model.set_num_updates(9)
    _, log = gradients(fading)
    fading.model.set_num_updates(10)
    found, faded_log = gradients(fading)
    expected, computed_log = gradients(constant)
    assert found.keys() == expected.keys()
    for parameter, gradient in expected.items():
        torch.testing.assert_close(found[parameter], gradient, msg=lambda text, of=parameter: f"{of}: {text}")
    term = next(term for term in fading.criterion.terms if term.weight_name == name)
    assert {scalar.total for scalar in term.scalars()} <= log.keys() & computed_log.keys()
    if name != "mlm_weight":  # which comes with the soft targets
        assert not {scalar.total for scalar in term.scalars()} & faded_log.keys()
    assert faded_log["sample_size"] == computed_log["sample_size"]
    fading.model.eval()
    assert fading.criterion(fading.model, fading.batch())[2].keys() >= {scalar.total for scalar in term.scalars()}
    fading.model.train()


def test_what_only_faded_terms_read_has_a_gradient_of_0(distillation_run: Callable) -> None:
    """And the teacher does not run: neither its encoder nor its head."""
    schedules = "soft_target_weight=linear:1:0:10,cosine_weight=cosine:1:0:10,relation_weight=linear:1:0:5"
    run = distillation_run({"relation_heads": 4, "schedules": schedules}, {"encoder_embed_dim": 8})
    run.model.set_num_updates(10)
    run.model.teacher.encoder.forward = run.model.teacher.masked_lm_head.forward = None
    found, log = gradients(run)
    assert torch.equal(found["width_projection.weight"], torch.zeros(12, 8))
    assert all(gradient is not None for gradient in found.values())
    assert (
        "mlm_loss" in log and not {"soft_target_loss", "teacher_agreement", "cosine_loss", "relation_loss"} & log.keys()
    )


def test_without_the_vocabulary_its_head_has_a_gradient_of_0(distillation_run: Callable) -> None:
    run = distillation_run({"schedules": "soft_target_weight=linear:1:0:10,mlm_weight=linear:1:0:9"})
    run.model.set_num_updates(10)
    found, log = gradients(run)
    heads = [gradient for name, gradient in found.items() if name.startswith("masked_lm_head")]
    assert heads and not any(gradient.any() for gradient in heads)
    assert "cosine_loss" in log and not any(key in log for key in ("mlm_loss", "mlm_correct", "soft_target_loss"))


def test_all_terms_may_not_fade(distillation_run: Callable) -> None:
    fading = "soft_target_weight=linear:1:0:9,cosine_weight=cosine:1:0:9"
    distillation_run({"schedules": fading})
    with pytest.raises(UserError, match="let the weights of all terms end at 0, after which there is nothing to learn"):
        distillation_run({"schedules": f"{fading},mlm_weight=linear:1:0:9"})
