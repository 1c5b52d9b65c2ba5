"""What trains is what autograd finds a gradient for."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from fairseq_distil.errors import UserError

NONE = {"soft_target_weight": 0.0, "mlm_weight": 0.0, "cosine_weight": 0.0}
RELATIONS = {**NONE, "relation_weight": 1.0}
HIDDEN = {**NONE, "hidden_weight": 1.0}


def trained(model: torch.nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("criterion", "frozen"),
    [
        ({}, ()),
        ({**NONE, "mlm_weight": 1.0}, ()),
        ({**NONE, "soft_target_weight": 1.0}, ()),
        ({**NONE, "cosine_weight": 1.0}, ("masked_lm_head.",)),
        ({**HIDDEN, "hidden_layer_pairs": "1:2"}, ("masked_lm_head.", "encoder.layers.1.")),
        ({**HIDDEN, "hidden_layer_pairs": "0:0"}, ("masked_lm_head.", "encoder.layers.")),
        ({**RELATIONS, "relation_layer_pairs": "1:2"}, ("masked_lm_head.", "encoder.layers.1.", "encoder.layers.0.")),
        (RELATIONS, ("masked_lm_head.", "encoder.layers.1.")),
        ({**RELATIONS, "relation_layer_pairs": "1:2", "hidden_weight": 1.0}, ("masked_lm_head.",)),
        ({**RELATIONS, "schedules": "mlm_weight=linear:0:1:9"}, ()),
    ],
)
def test_what_no_term_reads_is_frozen(
    distillation_run: Callable, criterion: dict[str, Any], frozen: tuple[str, ...]
) -> None:
    run = distillation_run(criterion)
    trains = trained(run.model)
    run.model.requires_grad_(True)
    run.model.train()
    loss, _, _ = run.criterion(run.model, run.batch(indices=[0, 1, 2]))
    loss.backward()
    read = {name for name, parameter in run.model.named_parameters() if parameter.grad is not None}
    assert trains == read
    unread = trained(run.model) - read
    assert bool(unread) == bool(frozen) and all(name.startswith(frozen) for name in unread)


def test_a_task_that_does_not_fit_it_to_the_model_is_refused(setup_run: Callable, teacher_path: str, data: str) -> None:
    """Nothing would be frozen, nor a narrower student's projection be there."""
    model = {"_name": "teacher_student", "teacher": teacher_path, "encoder_layers": 2}
    run = setup_run(model, {"_name": "distillation"}, _name="masked_lm", data=data, tokens_per_sample=17)
    with pytest.raises(UserError, match="^criterion distillation is of task distil_masked_lm; take --task"):
        run.criterion(run.model, run.batch(indices=[0, 1]))
