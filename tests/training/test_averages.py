"""Runs that go on with averages of their weights (``--store-ema``), or begin with those of another run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.trainer import Trainer

from fairseq_distil.errors import UserError

from ..checkpoints.crafted import Call, pickled, zipped
from ..conftest import TINY, Run

MODELS = ("distil_encoder", "roberta")


@pytest.fixture(params=MODELS)
def set_up(request: pytest.FixtureRequest, setup_run: Callable[..., Run], tmp_path: Path) -> Callable[..., Trainer]:
    """Makes trainers that keep averages, of another project's model too."""

    def make(encoder_layers: int = 1, **ema: Any) -> Trainer:
        run = setup_run({"_name": request.param, "encoder_layers": encoder_layers, **TINY})
        run.cfg.checkpoint.save_dir = str(tmp_path)
        run.cfg.ema.update({"store_ema": True, "ema_fp32": True, **ema})
        return run.trainer()

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


def test_a_run_begins_with_the_averages_of_another(set_up: Callable[..., Trainer], tmp_path: Path) -> None:
    seed = tmp_path / "seed.pt"
    averages = save(set_up(), seed)
    assert_averages(go_on(set_up(ema_seed_model=str(seed))), averages)


def test_the_averages_of_another_architecture(set_up: Callable[..., Trainer], tmp_path: Path) -> None:
    seed = tmp_path / "seed.pt"
    save(set_up(), seed)
    expected = f"^--ema-seed-model .ema.ema_seed_model.: {seed}: its averages .* not those of this model: Missing key"
    with pytest.raises(UserError, match=expected):
        go_on(set_up(encoder_layers=3, ema_seed_model=str(seed)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04junk", "not a checkpoint that can be loaded safely, or damaged"),
        (zipped(pickled({"extra_state": {"ema": {"x": Call(print, "run")}}}), {}), "holds objects that safe loading"),
        (zipped(pickled([]), {}), "has no averages of weights .extra_state.ema.; give a"),
        (zipped(pickled({"extra_state": {"best": 1.0}}), {}), "has no averages of weights"),
        (zipped(pickled({"extra_state": {"ema": {}}}), {}), "has no averages of weights"),
        (zipped(pickled({"extra_state": {"ema": {"x": 5}}}), {}), "not a state dict of tensors: x is not a dense"),
    ],
)
@pytest.mark.parametrize("set_up", MODELS[:1], indirect=True)
def test_averages_that_cannot_be_read(
    content: bytes, message: str, set_up: Callable[..., Trainer], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    seed = tmp_path / "seed.pt"
    seed.write_bytes(content)
    with pytest.raises(UserError, match=f"^--ema-seed-model .ema.ema_seed_model.: {seed}: {message}") as error:
        go_on(set_up(ema_seed_model=str(seed)))
    assert "weights_only" not in str(error.value) and "run" not in capsys.readouterr().out.split()


@pytest.mark.parametrize("set_up", MODELS[:1], indirect=True)
def test_averages_become_the_weights_of_a_checkpoint(set_up: Callable[..., Trainer], tmp_path: Path) -> None:
    """By a function of fairseq's, which widens half precision."""
    source, copy = tmp_path / "source.pt", tmp_path / "copy.pt"
    averages = save(set_up(), source)
    state = torch.load(source)
    state["extra_state"]["ema"] = {name: average.half() for name, average in averages.items()}
    torch.save(state, source)
    checkpoint_utils.save_ema_as_checkpoint(str(source), str(copy))
    widened = {name: average.half().float() for name, average in averages.items()}
    torch.testing.assert_close(dict(torch.load(copy)["model"]), widened, rtol=0, atol=0)


@pytest.mark.parametrize("set_up", MODELS[:1], indirect=True)
def test_averages_that_are_not_there(set_up: Callable[..., Trainer], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="^--ema-seed-model .*seed.pt: no such file"):
        go_on(set_up(ema_seed_model=str(tmp_path / "seed.pt")))
