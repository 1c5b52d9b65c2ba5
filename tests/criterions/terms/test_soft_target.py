"""The soft-target term of the teacher's most likely words on real models and batches."""

from collections.abc import Callable

import pytest
import torch

from fairseq_distil.errors import UserError
from fairseq_distil.losses import soft_target_loss

ALONE = {"mlm_weight": 0.0, "cosine_weight": 0.0, "soft_target_weight": 3.0, "soft_target_temperature": 4.0}


@pytest.mark.parametrize("top_k", [1, 6, 46, None])
def test_the_sum_over_tokens(distillation_run: Callable, top_k: int | None) -> None:
    run = distillation_run(ALONE | {"soft_target_top_k": top_k}, sample_break_mode="eos")
    sample = run.batch()
    loss, _, log = run.criterion(run.model, sample)
    tokens = sample["net_input"]["src_tokens"].ne(1)
    with torch.no_grad():
        student, teacher = (model(**sample["net_input"])[0][tokens] for model in (run.model, run.model.teacher))
    expected = soft_target_loss(student, teacher, 4.0, top_k)
    torch.testing.assert_close(log["soft_target_loss"], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(loss, 3 * expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        ({"soft_target_top_k": 0}, "criterion.soft_target_top_k is 0, but must be at least 1"),
        ({"soft_target_top_k": 47}, "criterion.soft_target_top_k is 47, more than the 46 words of the vocabulary"),
        (
            {"soft_target_top_k": 5, "soft_target_weight": 0.0},
            "criterion.soft_target_top_k is 5, but criterion.soft_target_weight is 0; raise it, or leave",
        ),
        (
            {"relation_heads": 2},
            "criterion.relation_heads is 2, but criterion.relation_weight is 0; raise it, or leave",
        ),
        (
            {"soft_target_weight": 0.0, "schedules": "soft_target_temperature=linear:4:2:10"},
            "criterion.schedules changes soft_target_temperature, but criterion.soft_target_weight is 0",
        ),
    ],
)
def test_errors(distillation_run: Callable, criterion: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        distillation_run({"cosine_weight": 1.0} | criterion)


def test_a_term_that_a_schedule_makes_active_may_have_them(distillation_run: Callable) -> None:
    schedules = "soft_target_weight=linear:0:1:10,soft_target_temperature=linear:4:2:10"
    run = distillation_run({"soft_target_weight": 0.0, "soft_target_top_k": 5, "schedules": schedules})
    assert run.criterion.soft_target.is_active
