"""Groups of operations by hand, and on a real step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from torch.autograd import DeviceType

from fairseq_distil.benchmarks.profile_groups import (
    ACTIVATION,
    ATTENTION,
    BATCH,
    CLIPPING,
    DROPOUT,
    GROUPS,
    LAYER_NORM,
    LOSSES,
    OPTIMIZER,
    OTHER,
    PRODUCTS,
    group_of,
)
from fairseq_distil.benchmarks.stages import StageClock, watch
from fairseq_distil.benchmarks.step_profile import StepProfile, markdown, profile_step, summarize
from fairseq_distil.benchmarks.training_step import TrainingStep

ATTENTION_SCOPES = ["aten::scaled_dot_product_attention", "module SelfAttention", "stage teacher forward"]


@pytest.mark.parametrize(
    ("name", "scopes", "group"),
    [
        ("aten::addmm", ["aten::linear", "module SelfAttention"], PRODUCTS),
        ("aten::mm", ["_ChunkedVocabularyLoss", "stage loss"], PRODUCTS),
        ("aten::bmm", ATTENTION_SCOPES, ATTENTION),
        ("aten::bmm", ["stage student forward"], PRODUCTS),
        ("aten::_softmax", ATTENTION_SCOPES, ATTENTION),
        ("aten::bernoulli_", ATTENTION_SCOPES, ATTENTION),
        ("aten::bernoulli_", ["module Dropout", "module EncoderLayer"], DROPOUT),
        ("aten::mul", ["module Dropout", "module EncoderLayer"], DROPOUT),
        ("aten::_log_softmax", ["stage loss"], LOSSES),
        ("aten::copy_", ["_ChunkedVocabularyLoss", "stage loss"], LOSSES),
        ("aten::native_layer_norm", ["module LayerNorm"], LAYER_NORM),
        ("aten::gelu_backward", [], ACTIVATION),
        ("aten::mul_", ["stage clipping"], CLIPPING),
        ("aten::_fused_adamw_", ["stage optimizer"], OPTIMIZER),
        ("aten::eq", ["stage batch"], BATCH),
        ("aten::add", ["module EncoderLayer", "stage student forward", "stage loss"], OTHER),
    ],
)
def test_group_of(name: str, scopes: list[str], group: str) -> None:
    assert group_of(name, scopes) == group


@dataclass
class Event:
    """What is read of an event of torch's profiler; times in microseconds."""

    name: str
    self_cpu_time_total: float
    cpu_parent: Any = None
    sequence_nr: int = -1
    self_device_time_total: float = 0.0
    device_type: DeviceType = DeviceType.CPU


def test_own_times_add_up_by_group_and_stage() -> None:
    loss = Event("stage loss", 1e6)
    student = Event("stage student forward", 0, loss)
    dropout = Event("module Dropout", 0, student)
    backward = Event("stage backward", 2e6)
    node = Event("autograd::engine::evaluate_function: MulBackward0", 0, backward, sequence_nr=7)
    events = [
        loss,
        student,
        dropout,
        Event("aten::mul", 3e6, dropout, sequence_nr=7),
        Event("aten::addmm", 5e6, student, sequence_nr=8),
        Event("aten::mm", 7e6, loss),
        backward,
        node,
        Event("aten::mul", 11e6, node),  # belongs to the dropout of the forward
        Event("a kernel", 99e6, device_type=DeviceType.CUDA),
    ]
    found = summarize(events, cuda=False)
    assert found.seconds == {
        (LOSSES, "loss"): 1.0,
        (OTHER, "backward"): 2.0,
        (DROPOUT, "student forward"): 3.0,
        (PRODUCTS, "student forward"): 5.0,
        (PRODUCTS, "loss"): 7.0,
        (DROPOUT, "backward"): 11.0,
    }
    assert found.operations[DROPOUT, "aten::mul"] == 14.0


def test_tables() -> None:
    result = StepProfile(
        {(PRODUCTS, "loss"): 0.003, (PRODUCTS, "backward"): 0.005, (OTHER, "rest"): 0.002},
        {(PRODUCTS, "aten::mm"): 0.008, (OTHER, "aten::add"): 0.002},
    )
    assert markdown(result, largest=1).splitlines() == [
        "| ms of one step | loss | backward | rest | all | % |",
        "|---|---:|---:|---:|---:|---:|",
        "| matrix products | 3.0 | 5.0 |  | 8.0 | 80.0 |",
        "| other |  |  | 2.0 | 2.0 | 20.0 |",
        "| all | 3.0 | 5.0 | 2.0 | 10.0 | 100.0 |",
        "",
        "| operation | group | ms | % |",
        "|---|---|---:|---:|",
        "| `aten::mm` | matrix products | 8.0 | 80.0 |",
    ]


@pytest.mark.parametrize("added", ["none", "second-teacher"])
def test_a_real_step(added: str, tiny_case: Callable, parts_of: Callable) -> None:
    case = tiny_case(added=added)
    parts, clock = parts_of(case), StageClock()
    step = TrainingStep(watch(parts, clock), case, clock)
    hooks = [len(module._forward_hooks) for module in parts.model.modules()]
    found = profile_step(step, [parts.model, *parts.model.teachers], cuda=False)
    stages_of = {group: {stage for found_group, stage in found.seconds if found_group == group} for group in GROUPS}
    forward_and_backward = {"student forward", "backward"}
    assert stages_of[PRODUCTS] == {*forward_and_backward, "teacher forward", "loss"}
    assert stages_of[ATTENTION] == {*forward_and_backward, "teacher forward"}
    assert stages_of[OPTIMIZER] == {"optimizer"}
    assert forward_and_backward <= stages_of[DROPOUT] and forward_and_backward <= stages_of[LAYER_NORM]
    assert [len(module._forward_hooks) for module in parts.model.modules()] == hooks
