"""Checkpoints whose parts are of other types, or grow while they are read."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils
from omegaconf import OmegaConf

from fairseq_distil.checkpoints.safe_loading import load_safely
from fairseq_distil.errors import UserError


@pytest.fixture
def refuse(teacher_path: str, tmp_path: Path) -> Callable[..., str]:
    """Saves a checkpoint with other parts, and returns why it is refused."""

    def refusal(**parts: Any) -> str:
        path = tmp_path / "changed.pt"
        torch.save({**torch.load(teacher_path), **parts}, path)
        with pytest.raises(UserError) as error:
            load_safely(path)
        return str(error.value).removeprefix(f"{path}: ")

    return refusal


def test_a_checkpoint_is_as_fairseq_reads_it(teacher_path: str) -> None:
    state = load_safely(teacher_path, {"encoder_layers": 7})
    assert state["cfg"].model._name == "distil_encoder" and state["cfg"].model.encoder_layers == 7
    assert state["extra_state"]["train_iterator"]["epoch"] == 1
    assert checkpoint_utils.load_checkpoint_to_cpu(teacher_path)["cfg"].model.encoder_layers == 3


@pytest.mark.parametrize(
    ("part", "value", "reason"),
    [
        ("model", [1], "not a fairseq checkpoint: it has no model"),
        ("model", {"a": 1}, "not a state dict of tensors: a is not a dense tensor with values"),
        ("args", {"arch": "x"}, "not a fairseq checkpoint: its args is dict, expected Namespace"),
        ("cfg", "a: &a [x]", "not a fairseq checkpoint: its cfg is str, expected dict"),
        ("task_state", 5, "not a fairseq checkpoint: its task_state is int, expected dict"),
        (
            "task_state",
            {"dictionary_symbols": [1]},
            "not a fairseq checkpoint: its dictionary_symbols are not a list",
        ),
        (
            "task_state",
            {"classification": {"labels": "ab"}},
            "not a fairseq checkpoint: its labels are not a list",
        ),
        ("task_state", {"classification": {"problem_type": {}}}, "not a fairseq checkpoint: its classification is not"),
        ("cfg", {"model": {"max_positions": torch.zeros(3)}}, "its cfg holds a Tensor, which is no setting"),
        (
            "cfg",
            {"model": OmegaConf.create({"_name": "${oc.env:HOME}"})},
            "holds objects that safe loading refuses, the first of them omega",
        ),
        ("last_optimizer_state", [], "not a fairseq checkpoint: its last_optimizer_state is not an optimiser's"),
        (
            "last_optimizer_state",
            {"state": {0: {"exp_avg": torch.zeros(1).expand(10**9)}}, "param_groups": []},
            "not a checkpoint that can be loaded safely, or damaged: its pickle has a tensor that claims more values",
        ),
        ("optimizer_history", [], "not a checkpoint that can be loaded safely, or damaged"),
    ],
)
def test_parts_of_other_types(refuse: Callable[..., str], part: str, value: Any, reason: str) -> None:
    assert refuse(**{part: value}).startswith(reason)


def test_settings_that_double_with_each_level(refuse: Callable[..., str]) -> None:
    part: dict[str, Any] = {"x": 1}
    for _ in range(16):
        part = {"a": part, "b": part}
    assert refuse(cfg=part).startswith("its cfg holds more than 20,000 settings")
    assert refuse(args=argparse.Namespace(x=part)).startswith("its args holds more than 20,000 settings")
    part["a"] = part
    assert refuse(cfg=part).endswith("its pickle changes what something else holds")


def test_settings_that_would_be_worked_out(refuse: Callable[..., str]) -> None:
    """A model card would tell the reader's environment."""
    reason = refuse(cfg={"task": {"data": "${oc.env:HOME}"}})
    assert reason.startswith("its cfg holds '${oc.env:HOME}', which would be worked out")
