"""Runs that go on with averages of their weights (``--store-ema``)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.trainer import Trainer

from fairseq_distil.errors import UserError

from ..conftest import TINY, Run


@pytest.fixture(params=["distil_encoder", "roberta"])
def set_up(request: pytest.FixtureRequest, setup_run: Callable[..., Run], tmp_path: Path) -> Callable[..., Trainer]:
    """Makes trainers that keep averages, of another project's model too."""

    def make(encoder_layers: int = 1, **ema: Any) -> Trainer:
        run = setup_run({"_name": request.param, "encoder_layers": encoder_layers, **TINY})
        run.cfg.checkpoint.save_dir = str(tmp_path)
        run.cfg.ema.update({"store_ema": True, "ema_fp32": True, **ema})
        return Trainer(run.cfg, run.task, run.model, run.criterion)

    return make


def save(trainer: Trainer, path: Path) -> dict[str, torch.Tensor]:
    """A checkpoint, whose averages are not its weights; returns the averages."""
    if trainer.ema is not None:
        for average in trainer.ema.fp32_params.values():
            average.add_(1.5)
        trainer.ema.restore(trainer.ema.fp32_params)
    trainer.consolidate_optimizer()
    trainer.save_checkpoint(str(path), {"train_iterator": {"epoch": 1}})
    return {name: average.clone() for name, average in trainer.ema.fp32_params.items()} if trainer.ema else {}


def go_on(trainer: Trainer) -> Trainer:
    checkpoint_utils.load_checkpoint(trainer.cfg.checkpoint, trainer)
    return trainer


def assert_averages(trainer: Trainer, averages: dict[str, torch.Tensor]) -> None:
    torch.testing.assert_close(trainer.ema.fp32_params, averages, rtol=0, atol=0)
    torch.testing.assert_close(dict(trainer.ema.get_model().state_dict()), averages, rtol=0, atol=0)


def test_a_run_goes_on_with_its_averages(set_up: Callable[..., Trainer], tmp_path: Path) -> None:
    averages = save(set_up(), tmp_path / "checkpoint_last.pt")
    assert_averages(go_on(set_up()), averages)


def test_one_value_is_not_spread_over_a_matrix(set_up: Callable[..., Trainer], tmp_path: Path) -> None:
    path = tmp_path / "checkpoint_last.pt"
    averages = save(set_up(), path)
    name = next(name for name, average in averages.items() if average.ndim == 2)
    state = torch.load(path)
    state["extra_state"]["ema_fp32_params"][name] = torch.zeros(1)
    torch.save(state, path)
    with pytest.raises(UserError, match=rf"extra_state.ema_fp32_params .*: {name} is \(1,\), but the model's is "):
        go_on(set_up())


def test_a_checkpoint_without_averages(set_up: Callable[..., Trainer], tmp_path: Path) -> None:
    save(set_up(store_ema=False), tmp_path / "checkpoint_last.pt")
    with pytest.raises(UserError, match="^checkpoint_last.pt: has no averages of the weights; go on without --store-"):
        go_on(set_up())
