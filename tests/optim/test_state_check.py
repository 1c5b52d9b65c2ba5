"""States of fairseq's own optimisers, of other parameters or settings."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from fairseq import optim
from fairseq.optim import FairseqOptimizer
from fairseq.optim.adafactor import Adafactor
from fairseq.optim.adam import Adam
from omegaconf import OmegaConf
from torch.nn import Parameter

from fairseq_distil.errors import UserError
from fairseq_distil.optim import FusedAdamW, FusedAdamWConfig
from fairseq_distil.optim.state_check import require_fitting


def parameters_with_gradients() -> list[Parameter]:
    generator = torch.Generator().manual_seed(3)
    parameters = [Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 5), (5,))]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    return parameters


def adam_after_an_update() -> FairseqOptimizer:
    """fairseq's, as its trainer builds it."""
    others = {"common": {"tpu": False}, "optimization": {"lr": [0.01]}}
    cfg = OmegaConf.create({**others, "optimizer": {"_name": "adam"}})
    made = optim.build_optimizer(cfg.optimizer, parameters_with_gradients())
    made.step()
    return made


@pytest.mark.parametrize(
    "make", [Adam, Adafactor, torch.optim.Adagrad, torch.optim.Adamax, partial(torch.optim.SGD, momentum=0.9)]
)
def test_its_own_state_fits(make: Callable[[list[Parameter]], torch.optim.Optimizer]) -> None:
    made = make(parameters_with_gradients())
    made.step()
    require_fitting(made, made.state_dict())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"exp_avg": torch.zeros(5, 3)}, r"parameter 0 does not fit: its exp_avg is no tensor of shape \(3, 5\)"),
        ({"exp_avg_sq": torch.zeros(())}, r"parameter 0 does not fit: its exp_avg_sq is no tensor of shape \(3, 5\)"),
        ({"step": -1}, "parameter 0 does not fit: its step is no count"),
        ({"step": float("nan")}, "its step is no count; start with --reset-optimizer"),
    ],
)
def test_adams_state_of_other_parameters_is_refused(changed: dict[str, Any], message: str) -> None:
    optimizer = adam_after_an_update()
    state = optimizer.state_dict()
    state["state"][0] = {**state["state"][0], **changed}
    with pytest.raises(UserError, match=message):
        optimizer.load_state_dict(state)


def fused_after_an_update() -> FairseqOptimizer:
    made = FusedAdamW(FusedAdamWConfig(lr=[0.01]), parameters_with_gradients())
    made.step()
    return made


SHARED = torch.zeros(3, 10)
SHARES = "its .* shares values with another, or claims more"


@pytest.mark.parametrize("make", [adam_after_an_update, fused_after_an_update])
@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"exp_avg": torch.zeros(1, 1).expand(3, 5)}, SHARES),
        ({"exp_avg_sq": torch.zeros(1, 5).expand(3, 5)}, SHARES),
        ({"exp_avg": SHARED[:, ::2]}, SHARES),
        ({"extra": torch.zeros(1).expand(2, 2)}, SHARES),
        ({"exp_avg": SHARED.view(2, 3, 5)[0], "exp_avg_sq": SHARED.view(2, 3, 5)[0]}, SHARES),
        ({"exp_avg": torch.zeros(15).as_strided((3, 5), (3, 1))}, SHARES),
        ({"extra": torch.zeros(3, 5).to_sparse()}, SHARES),
        ({"extra": torch.zeros(3, 5, device="meta")}, SHARES),
        ({"exp_avg": Parameter(torch.zeros(3, 5))}, "its exp_avg is a parameter itself"),
    ],
)
def test_moments_that_cannot_be_updated_in_place_are_refused(
    make: Callable[[], FairseqOptimizer], changed: dict[str, Any], reason: str
) -> None:
    """torch's fused kernel wrote beyond the storage of a view of one value."""
    optimizer = make()
    state = optimizer.state_dict()
    state["state"][0] = {**state["state"][0], **changed}
    with pytest.raises(UserError, match=f"parameter 0 does not fit: {reason}"):
        optimizer.load_state_dict(state)


@pytest.mark.parametrize("make", [adam_after_an_update, fused_after_an_update])
def test_moments_in_another_order_of_dimensions_fit(make: Callable[[], FairseqOptimizer]) -> None:
    optimizer = make()
    state = optimizer.state_dict()
    state["state"][0]["exp_avg"] = torch.ones(5, 3).T
    state["state"][0]["none"], state["state"][1]["none"] = torch.zeros(0), torch.zeros(0)
    optimizer.load_state_dict(state)
    optimizer.step()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"betas": "0.9"}, "a setting betas that does not fit, expected"),
        ({"eps": float("inf")}, "a setting eps that does not fit, expected"),
        ({"amsgrad": True}, "a setting amsgrad that does not fit, expected False"),
        ({"params": [0]}, r"groups of \[1\] parameters, but there are \[2\]: its run trained others, such as"),
        ({"params": [1, 0]}, "does not number its parameters from 0 on; start with --reset-optimizer"),
        ({"params": [[], 1]}, "does not number its parameters from 0 on"),
        ({"params": [torch.zeros(1).expand(10**12), 1]}, "does not number its parameters from 0 on"),
    ],
)
def test_groups_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    optimizer = adam_after_an_update()
    state = optimizer.state_dict()
    state["param_groups"] = [{**state["param_groups"][0], **changed}]
    with pytest.raises(UserError, match=message):
        optimizer.load_state_dict(state)
