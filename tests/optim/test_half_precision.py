"""``--fp16`` with ``fused_adamw`` needs no further option."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fairseq.optim import FP16Optimizer

from fairseq_distil.errors import UserError
from fairseq_distil.optim.half_precision import fit_half_precision

from ..conftest import TINY, Run

FUSED = {"_name": "fused_adamw", "adamw_weight_decay": 0.1, "lr": [0.01]}


@pytest.fixture
def run_with(setup_run: Callable[..., Run], tmp_path: Path) -> Callable[..., Run]:
    """Sets up an encoder with ``fused_adamw`` or another optimiser, and settings of ``common``."""

    def make(optimizer: dict = FUSED, **common: bool) -> Run:
        run = setup_run({"_name": "distil_encoder", "encoder_layers": 1, **TINY})
        run.cfg.optimizer = optimizer
        run.cfg.common.update(common)
        run.cfg.checkpoint.save_dir = str(tmp_path)
        return run

    return make


def test_float32_copies_keep_their_shapes(run_with: Callable[..., Run]) -> None:
    run = run_with(fp16=True)
    fit_half_precision(run.cfg)
    parameters = list(run.model.half().parameters())
    optimizer = FP16Optimizer.build_optimizer(run.cfg, parameters)
    matrices, vectors = optimizer.param_groups
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0.0)
    assert {p.ndim for p in matrices["params"]} == {2} and {p.ndim for p in vectors["params"]} == {1}
    copies = [*matrices["params"], *vectors["params"]]
    assert len(copies) == len(parameters) and {p.dtype for p in copies} == {torch.float32}


def test_other_runs_are_left_as_they_are(run_with: Callable[..., Run]) -> None:
    for run in (run_with(), run_with({"_name": "adam", "lr": [0.01]}, fp16=True, memory_efficient_fp16=True)):
        fit_half_precision(run.cfg)
        assert run.cfg.common.fp16_no_flatten_grads is False


def test_updates_need_float32_weights(run_with: Callable[..., Run]) -> None:
    run = run_with(bf16=True, memory_efficient_bf16=True)
    expected = r"^--memory-efficient-bf16 \(common.memory_efficient_bf16\) keeps no float32 weights, .* give --bf16 "
    with pytest.raises(UserError, match=expected):
        run.go_on()


def test_bfloat16_weights_are_updated_in_float32(run_with: Callable[..., Run]) -> None:
    trainer = (run := run_with(bf16=True)).go_on()
    before = [parameter.clone() for parameter in run.model.parameters()]
    trainer.train_step([run.batch(indices=[3, 4])])
    assert [len(group["params"]) > 1 for group in trainer.optimizer.param_groups] == [True, True]
    assert {parameter.dtype for parameter in run.model.parameters()} == {torch.bfloat16}
    assert sum(not torch.equal(*pair) for pair in zip(before, run.model.parameters(), strict=True)) > 10


@pytest.mark.skipif(not torch.cuda.is_available(), reason="fairseq trains with --fp16 on GPUs alone")
def test_float16_weights_are_updated_in_float32(run_with: Callable[..., Run]) -> None:
    run = run_with(fp16=True, cpu=False)
    trainer = run.go_on()
    batch = run.batch(indices=[3, 4])
    for _ in range(20):  # of which the first few only lower the loss scale
        trainer.train_step([batch])
    assert trainer.get_num_updates() > 0
    assert [group["weight_decay"] for group in trainer.optimizer.param_groups] == [0.1, 0.0]
