"""The registered optimiser against fairseq's own Adam, and against AdamW's formula."""

import math
from typing import Any

import pytest
import torch
from fairseq.optim.adam import Adam
from torch.nn import Parameter
from torch.utils._python_dispatch import TorchDispatchMode

from fairseq_distil.errors import UserError
from fairseq_distil.optim import FusedAdamW, FusedAdamWConfig


def parameters() -> list[Parameter]:
    generator = torch.Generator().manual_seed(3)
    return [Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 5), (5,), (7, 3), (1,))]


def optimizer_for(params: list[Parameter], **settings: float) -> FusedAdamW:
    return FusedAdamW(FusedAdamWConfig(lr=[0.01], **settings), params)


def set_gradients(params: list[Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in params:
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_equals_fairseqs_adam_without_weight_decay() -> None:
    ours, theirs = parameters(), parameters()
    fused = optimizer_for(ours)
    adam = Adam(theirs, lr=0.01, betas=(0.9, 0.98), eps=1e-6)
    for seed in range(5):
        set_gradients(ours, seed)
        set_gradients(theirs, seed)
        fused.step()
        adam.step()
    # fairseq adds eps before it corrects the bias of the mean square, torch after that: the same up to eps
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_first_update_by_the_formula_decays_matrices_alone() -> None:
    params, before = parameters(), parameters()
    optimizer = optimizer_for(params, adamw_weight_decay=0.1, adamw_eps=0.0)
    set_gradients(params, 0)
    optimizer.step()
    for new, old in zip(params, before, strict=True):
        decay = 1 - 0.01 * 0.1 if old.ndim > 1 else 1.0
        torch.testing.assert_close(new.detach(), decay * old.detach() - 0.01 * new.grad.sign())


def test_state_goes_on_bit_for_bit_after_saving() -> None:
    straight, resumed = parameters(), parameters()
    one = optimizer_for(straight, adamw_weight_decay=0.1)
    before = optimizer_for(resumed, adamw_weight_decay=0.1)
    for params, optimizer in ((straight, one), (resumed, before)):
        set_gradients(params, 1)
        optimizer.step()
    after = optimizer_for(resumed, adamw_weight_decay=0.1)
    after.load_state_dict(before.state_dict())
    for params, optimizer in ((straight, one), (resumed, after)):
        set_gradients(params, 2)
        optimizer.step()
    torch.testing.assert_close(resumed, straight, atol=0, rtol=0)


class Operations(TorchDispatchMode):
    """Notes what is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: tuple = (), keywords: dict | None = None
    ) -> Any:
        self.names.append(operation.overloadpacket.__name__)
        return operation(*arguments, **(keywords or {}))


@pytest.mark.parametrize("loads", ["nothing", "its state", "a state without the choice"])
def test_one_kernel_updates_all_parameters_of_a_group(loads: str) -> None:
    params = parameters()
    optimizer = optimizer_for(params, adamw_weight_decay=0.1)
    set_gradients(params, 1)
    if loads != "nothing":
        optimizer.step()
        state = optimizer.state_dict()
        if loads == "a state without the choice":
            for group in state["param_groups"]:
                del group["fused"]
        optimizer = optimizer_for(params, adamw_weight_decay=0.1)
        optimizer.load_state_dict(state)
    with Operations() as operations:
        optimizer.step()
    assert operations.names.count("_fused_adamw_") == 2  # of matrices, and of vectors
    assert not {"addcdiv_", "_foreach_addcdiv_", "lerp_"} & set(operations.names)
    assert [group["fused"] for group in optimizer.param_groups] == [True, True]


def test_overridden_weight_decay_leaves_vectors_alone() -> None:
    optimizer = optimizer_for(parameters(), adamw_weight_decay=0.1)
    optimizer.load_state_dict(optimizer.state_dict(), {"weight_decay": 0.3, "lr": 0.5})
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("index", "changed", "message"),
    [
        (0, {"exp_avg": torch.zeros(3)}, "state of parameter 0 does not fit: its exp_avg is no tensor of shape"),
        (1, {"exp_avg_sq": None}, "state of parameter 1 does not fit: its exp_avg_sq is no tensor"),
        (0, {"step": torch.zeros(2)}, r"its step is no tensor of shape \(\)"),
        (99, {}, "has a parameter 99, but there are"),
    ],
)
def test_state_of_other_parameters_is_refused(index: int, changed: dict, message: str) -> None:
    """torch's kernel would read and write beyond it."""
    params = parameters()
    optimizer = optimizer_for(params)
    set_gradients(params, 1)
    optimizer.step()
    state = optimizer.state_dict()
    state["state"][index] = {**state["state"][0 if index == 99 else index], **changed}
    with pytest.raises(UserError, match=message):
        optimizer.load_state_dict(state)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("adamw_beta1", 1.0),
        ("adamw_beta2", -0.1),
        ("adamw_eps", -1e-6),
        ("adamw_weight_decay", -1.0),
        ("adamw_eps", math.nan),
    ],
)
def test_impossible_setting_is_named(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"optimizer.{name} is {value}"):
        optimizer_for(parameters(), **{name: value})
