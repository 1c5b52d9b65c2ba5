"""What a checkpoint says of its training."""

from typing import Any

import pytest
import torch

from fairseq_distil.checkpoints.training_state import require_training_state
from fairseq_distil.errors import UserError


def state_with(**position: Any) -> dict[str, Any]:
    position = {"epoch": 2, "iterations_in_epoch": 3, "version": 2, "shuffle": True, **position}
    meters = [
        (10, "loss", "AverageMeter", {"val": torch.tensor(2.0), "sum": 4.0, "count": 2, "round": 3}),
        (10, "pred", "ConcatTensorMeter", {"tensor": torch.arange(5)}),
        (10, "_of_a_plugin", "SumMeter", {"sum": 3.0, "round": None}),
        (10, "_rows_of_a_plugin", "ConcatTensorMeter", {"tensor": torch.zeros(2, 3)}),
    ]
    return {
        "optimizer_history": [{"num_updates": 7, "lr_scheduler_state": {"best": float("inf"), "lr": 0.1}}],
        "extra_state": {"train_iterator": position, "best": float("nan"), "metrics": {"train_inner": meters}},
    }


def test_what_fairseq_and_this_project_store_passes() -> None:
    require_training_state(state_with())
    bits = torch.zeros(3, dtype=torch.uint8)
    require_training_state(state_with(samples=17, seen_samples=bits, grouped_without=bits, is_unfinished=True))


@pytest.mark.parametrize(
    ("position", "message"),
    [
        ({"epoch": -1}, "train_iterator has epoch that is not a whole number from 0"),
        ({"epoch": True}, "train_iterator has epoch that"),
        ({"iterations_in_epoch": 2**40}, "train_iterator has iterations_in_epoch that"),
        ({"means": {"loss": "x"}}, "train_iterator has means that are not numbers by name"),
        ({"means": {"x\x1b[31m\nINFO": 1.0}}, "train_iterator has means that are not numbers by name"),
        ({"means": [2.0]}, "train_iterator has means that are not numbers by name"),
        ({"shuffle": "x"}, "train_iterator has shuffle that is neither true nor false"),
        ({"seen_samples": torch.zeros(3, dtype=torch.uint8)}, "has seen_samples, but not all that belongs to it"),
        ({"samples": 17, "seen_samples": torch.zeros(2, dtype=torch.uint8)}, "has seen_samples that are not 3 bytes"),
        ({"samples": 17, "grouped_without": torch.zeros(3)}, "has grouped_without that are not 3 bytes"),
        ({"samples": 17, "seen_samples": 5}, "seen_samples is not a dense tensor"),
    ],
)
def test_positions_that_cannot_be_are_refused(position: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        require_training_state(state_with(**position))


@pytest.mark.parametrize(("name", "value"), [("val_loss", "x"), ("best", None), ("previous_training_time", None)])
def test_what_is_no_number_is_refused(name: str, value: Any) -> None:
    state = state_with()
    state["extra_state"]["val_loss"] = None
    require_training_state(state)
    state["extra_state"][name] = value
    with pytest.raises(UserError, match=f"its {name} is not a number"):
        require_training_state(state)


def test_what_a_task_stores_is_no_tensor() -> None:
    """fairseq asks whether it is something, which torch does not answer of a tensor of several values."""
    state = state_with()
    state["extra_state"]["SomeTask"] = {"told": torch.zeros(2)}
    require_training_state(state)
    state["extra_state"]["SomeTask"] = torch.zeros(2)
    with pytest.raises(UserError, match="'SomeTask' of extra_state is a tensor"):
        require_training_state(state)


@pytest.mark.parametrize(
    "meter",
    [
        (10, "wall", "AverageMeter", {"val": 1, "sum": 1, "count": 1}),
        (10, "loss", "OrderedDict", {}),
        (10, "x\nforged", "SumMeter", {"sum": 1.0}),
        (10, 201 * "x", "SumMeter", {"sum": 1.0}),
        (10, "loss", "SumMeter", {"sum": 1.0}),
        (10, "_of_a_plugin", "TimeMeter", {"init": 0, "n": 1}),
        (10, "_of_a_plugin", "SumMeter", {"sum": "x"}),
        (10, "pred", "ConcatTensorMeter", {"tensor": "x"}),
        (10, "loss", "AverageMeter", {"val": 1, "sum": "x", "count": 1}),
        (10, "loss", "AverageMeter", {"val": 1, "sum": 1, "count": 1, "round": 10**30}),
        (10, "loss", "AverageMeter"),
        5,
    ],
)
def test_meters_that_fairseq_does_not_have_are_refused(meter: Any) -> None:
    state = state_with()
    state["extra_state"]["metrics"]["train"] = [meter]
    with pytest.raises(UserError, match="its metrics of 'train' are not those of fairseq's meters"):
        require_training_state(state)
