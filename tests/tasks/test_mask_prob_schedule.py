"""A rate of masks that changes over the updates."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fairseq import optim

from fairseq_distil.errors import UserError

ENCODER = {"_name": "distil_encoder", "encoder_layers": 1, "encoder_embed_dim": 12, "dropout": 0.0}
CRITERIONS = [
    pytest.param({"_name": "masked_lm"}, id="fairseq's masked LM"),
    pytest.param({"_name": "distillation"}, id="distillation"),
]


@pytest.fixture
def run_with(setup_run: Callable, teacher_path: str) -> Callable:
    """A run without dropout, with settings of the criterion and of the task."""

    def setup(criterion: dict[str, Any], **task: Any):
        model = {"_name": "teacher_student", "teacher": teacher_path, "dropout": 0.0, "attention_dropout": 0.0}
        return setup_run(model, criterion, **task)

    return setup


def step(run, update: int) -> tuple[float, int, dict]:
    """Loss, sample size and log of an update of a run's first samples."""
    optimizer = optim.build_optimizer(run.cfg.optimizer, list(run.model.parameters()))
    sample = run.batch(indices=[0, 1, 2, 3, 4])
    loss, sample_size, log = run.task.train_step(sample, run.model, run.criterion, optimizer, update)
    return loss.item(), sample_size, log


@pytest.mark.parametrize("criterion", CRITERIONS)
@pytest.mark.parametrize(("update", "rate"), [(0, 0.5), (5, 0.3), (10, 0.1), (99, 0.1)])
def test_an_update_is_that_of_a_run_with_its_rate(
    run_with: Callable, criterion: dict, update: int, rate: float
) -> None:
    run = run_with(criterion, mask_prob_schedule="linear:0.5:0.1:10")
    loss, sample_size, log = step(run, update)
    constant = run_with(criterion, mask_prob=rate)
    constant.model.load_state_dict(run.model.state_dict())
    expected = step(constant, update)
    assert (loss, sample_size) == expected[:2]
    scheduled = log.pop("scheduled_mask_prob", None)
    assert scheduled == (pytest.approx(rate * sample_size) if criterion["_name"] == "distillation" else None)
    assert log == expected[2]


def test_a_repeated_step_is_the_same(run_with: Callable) -> None:
    """As after an update that is not finite, with the same batch in memory."""
    run = run_with({"_name": "distillation"}, mask_prob_schedule="constant:0.4")
    optimizer = optim.build_optimizer(run.cfg.optimizer, list(run.model.parameters()))
    sample = run.batch(indices=[0, 1])
    first, second = (run.task.train_step(sample, run.model, run.criterion, optimizer, 3) for _ in range(2))
    assert first[0].item() == second[0].item() and first[1] == second[1]


def test_validation_has_the_constant_rate(run_with: Callable) -> None:
    """Of training data, too."""
    run = run_with({"_name": "distillation"}, mask_prob_schedule="linear:0.5:0.1:10", mask_prob=0.2)
    constant = run_with({"_name": "distillation"}, mask_prob=0.2)
    constant.model.load_state_dict(run.model.state_dict())
    run.model.set_num_updates(5)
    for split in ("valid", "train"):
        samples = (one.batch(split, [0, 1, 2]) for one in (run, constant))
        found, expected = (
            one.task.valid_step(sample, one.model, one.criterion)
            for one, sample in zip((run, constant), samples, strict=True)
        )
        assert found[:2] == expected[:2]


def test_masks_of_validation_are_those_without_a_schedule(setup_task: Callable) -> None:
    batches = []
    for settings in ({}, {"mask_prob_schedule": "linear:0.5:0.1:10"}):
        task = setup_task(**settings)
        task.load_dataset("valid")
        batches.append(task.dataset("valid").collater([task.dataset("valid")[index] for index in range(5)]))
    torch.testing.assert_close(*batches, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (
            "linear:0.5:0.1",
            "task.mask_prob_schedule: 'linear:0.5:0.1' is not constant:VALUE, or SHAPE:FIRST:LAST:UPDATES",
        ),
        (
            "linear:0.5:0:10",
            "task.mask_prob_schedule linear:0.5:0:10: it goes to 0.0, but masks need a probability above",
        ),
        ("cosine:1.5:0.1:10", "task.mask_prob_schedule cosine:1.5:0.1:10: it goes to 1.5"),
        ("constant:nan", "task.mask_prob_schedule constant:nan: it goes to nan"),
    ],
)
def test_wrong_schedules(setup_task: Callable, schedule: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        setup_task(mask_prob_schedule=schedule)
