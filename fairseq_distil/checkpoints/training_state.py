"""Whether a checkpoint's account of its training is one that a run can go on from: counts, positions and meters."""

import math
from typing import Any

from torch import Tensor

from fairseq_distil.checkpoints.averages import require_averages
from fairseq_distil.checkpoints.tensor_check import is_dense, require_held
from fairseq_distil.data.elastic_batches import GROUPED_WITHOUT, SEEN
from fairseq_distil.errors import UserError

IS_UNFINISHED = "is_unfinished"
"""In a checkpoint's position in the data: what is due after its update, such as validation, is yet to be done."""
MEANS = "means"
"""In the position of a checkpoint that ends an epoch or the run: the means that are told after it, by name."""

MOST_COUNTED = 2**31
"""Updates, epochs and batches, which random seeds are made of; samples, too."""
MOST_DECIMALS = 99
LONGEST_NAME = 200
VALUES_OF_METERS = {
    "AverageMeter": ("val", "sum", "count"),
    "SumMeter": ("sum",),
    "TimeMeter": ("init", "n"),
    "StopwatchMeter": ("sum", "n"),
    "ConcatTensorMeter": (),
}
NUMBERS = ("best", "val_loss", "previous_training_time")
"""Of ``extra_state``."""
TIMES = {"wall": "StopwatchMeter", "train_wall": "StopwatchMeter", "wps": "TimeMeter", "ups": "TimeMeter"}
"""fairseq's, by name; there are no others."""
AVERAGES = ("num_updates", "lr", "gnorm", "clip", "loss_scale", "wpb", "bsz", "gb_free")
AVERAGE_SUFFIXES = ("loss", "ppl", "accuracy", "agreement")
"""Names of averages, fairseq's and this project's, whose meters another kind under their name would break."""


def is_count(value: Any) -> bool:
    """Whether it is a whole number, not negative, that can be counted to."""
    return type(value) is int and 0 <= value < MOST_COUNTED


def is_name(value: Any) -> bool:
    """Whether it can be the name of a value in a log: short, and nothing that a terminal would act on."""
    return isinstance(value, str) and len(value) <= LONGEST_NAME and value.isprintable()


def is_number(value: Any) -> bool:
    """Whether it is a number that floating point can hold, finite or not, or a tensor of one."""
    if isinstance(value, Tensor):
        return is_dense(value) and value.numel() == 1 and not value.is_complex()
    return type(value) is float or (type(value) is int and -(2**63) <= value < 2**63)


def require_training_state(state: dict[str, Any]) -> None:
    """Check ``optimizer_history`` and ``extra_state`` of a checkpoint with its model, as fairseq has upgraded it.

    Raises:
        UserError: they are not what fairseq and this project store
    """
    history, extra = state.get("optimizer_history"), state.get("extra_state")
    if not isinstance(history, list) or not history or not all(isinstance(entry, dict) for entry in history):
        raise _damaged("optimizer_history is not a list of what optimisers did")
    _require_last_of_history(history[-1])
    scale = (state.get("last_optimizer_state") or {}).get("loss_scale", 1.0)
    if not (is_number(scale) and 0 < scale < math.inf):
        raise _damaged("loss_scale is not a positive number")
    if not isinstance(extra, dict):
        raise _damaged("extra_state is not a dictionary")
    if extra.get("train_iterator") is not None:  # released encoders have none
        _require_position(extra["train_iterator"])
    for name, value in extra.items():
        is_without_validation = name == "val_loss" and value is None
        if name in NUMBERS and not (is_number(value) or is_without_validation):
            raise _damaged(f"{name} is not a number")
        if name not in NUMBERS and isinstance(value, Tensor):  # fairseq asks whether what a task stores is something
            raise _damaged(f"{name!r} of extra_state is a tensor")
    if not isinstance(meters := extra.get("metrics", {}), dict):
        raise _damaged("metrics are not a dictionary")
    for name, group in meters.items():
        _require_meters(name, group)
    require_averages(extra, state.get("model", {}))


def _require_last_of_history(last: dict[str, Any]) -> None:
    if not is_count(last.get("num_updates")):
        raise _damaged("num_updates is not a number of updates")
    scheduler = last.get("lr_scheduler_state")
    if not isinstance(scheduler, dict) or not all(value is None or is_number(value) for value in scheduler.values()):
        raise _damaged("lr_scheduler_state is not a dictionary of numbers")


def _require_position(position: Any) -> None:
    if not isinstance(position, dict) or "epoch" not in position:
        raise _damaged("train_iterator is not a position in the data")
    for name in {"epoch", "iterations_in_epoch", "version", "samples"} & position.keys():
        if not is_count(position[name]):
            raise _damaged(f"train_iterator has {name} that is not a whole number from 0")
    for name in {"shuffle", IS_UNFINISHED} & position.keys():
        if type(position[name]) is not bool:
            raise _damaged(f"train_iterator has {name} that is neither true nor false")
    if {"version", IS_UNFINISHED, MEANS, SEEN} & position.keys() and "iterations_in_epoch" not in position:
        raise _damaged("train_iterator lacks iterations_in_epoch")
    means = position.get(MEANS, {})
    if not isinstance(means, dict) or not all(is_name(name) and type(value) is float for name, value in means.items()):
        raise _damaged(f"train_iterator has {MEANS} that are not numbers by name")
    for name in {SEEN, GROUPED_WITHOUT} & position.keys():
        _require_samples(position, name)


def _require_samples(position: dict[str, Any], name: str) -> None:
    if not {"samples", "shuffle"} <= position.keys():
        raise _damaged(f"train_iterator has {name}, but not all that belongs to it")
    require_held({name: position[name]})
    expected = (position["samples"] + 7) // 8
    if str(position[name].dtype) != "torch.uint8" or position[name].shape != (expected,):
        raise _damaged(f"train_iterator has {name} that are not {expected:,} bytes, a bit for each sample")


def _require_meters(name: Any, group: Any) -> None:
    if not isinstance(name, str) or not isinstance(group, list) or not all(map(_is_meter, group)):
        raise _damaged(f"metrics of {name!r} are not those of fairseq's meters")
    keys = [key for _, key, _, _ in group]
    if len(set(keys)) != len(keys) or (name == "default" and "wall" not in keys):
        raise _damaged(f"metrics of {name!r} have a meter twice, or lack that of the time")


def _is_meter(entry: Any) -> bool:
    if not isinstance(entry, tuple | list) or len(entry) != 4:
        return False
    priority, key, kind, values = entry
    if not (type(priority) is int and is_name(key) and isinstance(kind, str) and isinstance(values, dict)):
        return False
    if kind not in _kinds_of(key):
        return False
    if kind == "ConcatTensorMeter":
        values = values.get("tensor", ())
        return values is None or is_dense(values)
    decimals = values.get("round")
    return (decimals is None or (is_count(decimals) and decimals <= MOST_DECIMALS)) and all(
        name in values and (is_number(values[name]) or (name == "val" and values[name] is None))
        for name in VALUES_OF_METERS[kind]
    )


def _kinds_of(key: str) -> tuple[str, ...]:
    """Kinds of meters that may be under a name."""
    if key in TIMES:
        return (TIMES[key],)
    if key in AVERAGES or key.endswith(AVERAGE_SUFFIXES):
        return ("AverageMeter",)
    return ("AverageMeter", "SumMeter", "ConcatTensorMeter")


def _damaged(what: str) -> UserError:
    return UserError(f"not a fairseq checkpoint, or damaged: its {what}")
