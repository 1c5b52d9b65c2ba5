"""Checkpoints that a run goes on from: its counts, its position in the data, its meters, and its optimiser's state."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.data.iterators import EpochBatchIterator, GroupedIterator
from fairseq.dataclass.initialize import add_defaults
from fairseq.logging import metrics
from fairseq.trainer import Trainer
from hypothesis import strategies as st

from fairseq_distil.checkpoints.averages import AVERAGES
from fairseq_distil.checkpoints.checkpoint_fault import fault_of

from ..conftest import TINY
from .conftest import Fuzz
from .mutations import TENSORS, VALUES, changed_tree, saved

PARTS = ("optimizer_history", "last_optimizer_state", "extra_state", "model", "criterion")
POSITIONS = (
    {"epoch": -1},
    {"epoch": "1"},
    {"epoch": 2**40},
    {"iterations_in_epoch": -3},
    {"iterations_in_epoch": 10**6, "seen_samples": None},
    {"seen_samples": torch.zeros(1, dtype=torch.uint8).expand(10**12)},
    {"seen_samples": torch.full((3,), 255, dtype=torch.uint8)},
    {"grouped_without": torch.full((12,), 255, dtype=torch.uint8)},
    {"grouped_without": torch.zeros(12)},
    {"samples": "90"},
    {"samples": 7},
    {"is_unfinished": "yes"},
)


@pytest.fixture(params=[pytest.param("adam", marks=pytest.mark.slow), "fused_adamw"])
def trainer(
    request: pytest.FixtureRequest, setup_run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Trainer]]:
    """Makes trainers of one run."""
    run = setup_run({"_name": "distil_encoder", "encoder_layers": 1, **TINY})
    run.cfg.optimizer = {"_name": request.param}
    run.cfg.dataset.batch_size, run.cfg.dataset.required_batch_size_multiple = 4, 1
    run.cfg.dataset.num_workers = 0
    run.cfg.checkpoint.save_dir = str(tmp_path)
    run.cfg.ema.store_ema = run.cfg.ema.ema_fp32 = True
    add_defaults(run.cfg)
    monkeypatch.setattr(checkpoint_utils.save_checkpoint, "best", 3.5, raising=False)

    def make() -> Trainer:
        metrics.reset()
        return run.trainer()

    yield make
    metrics.reset()


def go_on(trainer: Trainer) -> EpochBatchIterator:
    """Load what there is, make an update, and look at all that a run looks at after it."""
    _, epochs = checkpoint_utils.load_checkpoint(trainer.cfg.checkpoint, trainer)
    batches = GroupedIterator(epochs.next_epoch_itr(), 1)
    trainer.begin_epoch(epochs.epoch)
    with metrics.aggregate("train_inner"):
        trainer.train_step(next(batches))
    for name in list(metrics._aggregators):
        metrics.get_smoothed_values(name)
    assert metrics.get_meter("default", "wall").elapsed_time is not None
    return epochs


@pytest.fixture
def checkpoint(trainer: Callable[[], Trainer], tmp_path: Path) -> dict[str, Any]:
    """In the middle of the first epoch, with lists in the place of tuples, whose parts can be changed."""
    first = trainer()
    epochs = go_on(first)
    checkpoint_utils.save_checkpoint(first.cfg.checkpoint, first, epochs, 3.5)
    first.cfg.checkpoint.restore_file = str(tmp_path / "hostile.pt")  # of the following trainers
    state = torch.load(tmp_path / "checkpoint_last.pt")
    groups = state["extra_state"]["metrics"]
    state["extra_state"]["metrics"] = {name: [list(meter) for meter in group] for name, group in groups.items()}
    state["extra_state"]["DistilMaskedLMTask"] = {"best": 3.5, "num_runs": 1}
    state["extra_state"]["train_iterator"]["is_unfinished"] = False
    state["criterion"] = {"weight": torch.ones(3)}  # as of one with a projection
    return state


def changed(seed: Any, place: Callable[[Any], dict[str, Any]]) -> st.SearchStrategy[bytes]:
    return changed_tree(seed, (*VALUES, *TENSORS)).map(place).map(saved)


def with_part(state: dict[str, Any], part: str, tree: Any) -> dict[str, Any]:
    return {**state, part: tree}


def with_position(state: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    """Those of the changed values that are None are removed."""
    position = {**state["extra_state"]["train_iterator"], **changed}
    position = {name: value for name, value in position.items() if value is not None}
    return {**state, "extra_state": {**state["extra_state"], "train_iterator": position}}


def with_averages(state: dict[str, Any], part: str, tree: Any) -> dict[str, Any]:
    return {**state, "extra_state": {**state["extra_state"], part: tree}}


def with_first_parameter(state: dict[str, Any], index: Any) -> dict[str, Any]:
    optimizer = copy.deepcopy(state["last_optimizer_state"])
    optimizer["param_groups"][0]["params"][0] = index
    return {**state, "last_optimizer_state": optimizer}


def with_name(state: dict[str, Any], part: str, name: Any) -> dict[str, Any]:
    """Of the criterion or the optimiser that the checkpoint is of."""
    *before, last = state["optimizer_history"]
    return {**state, "optimizer_history": [*before, {**last, f"{part}_name": name}]}


def with_kind_of_meters(state: dict[str, Any], kind: str) -> dict[str, Any]:
    """Averages under the name of another kind of meter, with all that it takes."""
    groups = {
        name: [
            [priority, key, kind if stored == "AverageMeter" else stored, {"init": 0, "n": 1, **values}]
            for priority, key, stored, values in group
        ]
        for name, group in state["extra_state"]["metrics"].items()
    }
    return {**state, "extra_state": {**state["extra_state"], "metrics": groups}}


def once_failed(state: dict[str, Any]) -> list[bytes]:
    without_weight, without_moment, without_position, without_best = (copy.deepcopy(state) for _ in range(4))
    del without_weight["model"]["masked_lm_head.bias"]
    del without_moment["last_optimizer_state"]["state"][0]["exp_avg"]
    without_position["extra_state"]["train_iterator"] = None
    without_best["extra_state"]["best"] = None
    doubled: dict[str, Any] = {}
    for _ in range(40):
        doubled = {"a": doubled, "b": doubled}
    averages = state["extra_state"]["ema"]
    name = next(iter(averages))
    return [
        saved(state),
        *(
            saved(with_averages(state, part, value))
            for part in AVERAGES
            for value in ("abc", [1], None, {"x": TENSORS[6]}, {**averages, name: 5}, {**averages, name: torch.ones(1)})
        ),
        *(saved({**state, part: value}) for part in PARTS for value in (5, "x", [], [5], {"x": []}, doubled)),
        *(saved(with_position(state, changed)) for changed in POSITIONS),
        *map(saved, (without_weight, without_moment, without_position, without_best)),
        *(saved(with_first_parameter(state, index)) for index in ([], 1, True, TENSORS[0])),
        *(saved(with_name(state, part, name)) for part in ("criterion", "optimizer") for name in ("", "a\nb", [])),
        *(saved(with_kind_of_meters(state, kind)) for kind in ("SumMeter", "TimeMeter")),
    ]


def test_what_a_run_goes_on_from(
    fuzz: Fuzz, trainer: Callable[[], Trainer], checkpoint: dict[str, Any], tmp_path: Path
) -> None:
    def read(content: bytes) -> None:
        (tmp_path / "hostile.pt").write_bytes(content)
        fault_of(tmp_path / "hostile.pt")  # which a run begins with if this is its checkpoint_last.pt
        made = trainer()
        go_on(made)
        made.cfg.checkpoint.no_save = True
        checkpoint_utils.save_checkpoint(made.cfg.checkpoint, made, None, 2.0)

    extra = checkpoint["extra_state"]
    small = {name: value for name, value in extra.items() if name not in ("metrics", *AVERAGES)}
    strategies = [
        changed(small, lambda tree: {**checkpoint, "extra_state": {**extra, **tree}}),  # as often as the meters
        *(changed(extra[part], partial(with_averages, checkpoint, part)) for part in AVERAGES),
        *(changed(checkpoint[part], partial(with_part, checkpoint, part)) for part in PARTS),
    ]
    fuzz(read, st.one_of(strategies), once_failed(checkpoint))


def test_it_goes_on_where_it_was(trainer: Callable[[], Trainer], checkpoint: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "hostile.pt").write_bytes(saved(checkpoint))
    second = trainer()
    epochs = go_on(second)
    assert second.get_num_updates() == 2 and epochs.iterations_in_epoch == 2
