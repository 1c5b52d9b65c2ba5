"""The same training with the fast paths and without any, in float32 and bfloat16: curves that are to overlay."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from fairseq_distil.errors import UserError
from fairseq_distil.modules.dropout import Dropout

from .device import use_device
from .plain_paths import plain_paths
from .printed_record import print_record
from .random_data import write_random_data
from .training_case import SPECIAL_SYMBOLS, TrainingCase
from .training_parts import TrainingParts, build_parts
from .training_step import TrainingStep

TOPICS = 8


class Way(NamedTuple):
    """How a curve is computed."""

    dtype: str
    is_plain: bool


WAYS = {
    "float32 without fast paths": Way("float32", True),
    "float32": Way("float32", False),
    "bfloat16 without fast paths": Way("bfloat16", True),
    "bfloat16": Way("bfloat16", False),
}


def print_curves(case: TrainingCase, updates: int, plot: Path | None) -> None:
    """Print the losses of each way, and how far at most they are from those of the first; draw them.

    Args:
        case: see :func:`require_suitable`
        updates: of each
        plot: to write, or None
    """
    use_device(case.device)
    curves = {}
    for name, losses in training_curves(case, updates):
        curves[name] = losses
        print_record({"curve": name, "losses": losses})
    first, *_ = curves.values()
    distances = {name: max(map(abs, percent_from(first, losses))) for name, losses in curves.items()}
    print_record({"updates": updates, "most_percent_from_the_first": distances})
    if plot is not None:
        from .curves_plot import draw_curves  # here, for matplotlib takes a second to import

        draw_curves(curves, plot)


def require_suitable(case: TrainingCase, updates: int) -> None:
    """Check before anything is measured or written.

    Raises:
        UserError: the case is not one of distillation by the bare step in float32, or is too small
    """
    if updates < 2:
        raise UserError(f"--curves is {updates}, but a curve has at least 2 updates")
    if case.dtype != "float32" or case.loop != "step" or not case.distils or case.padding:
        raise UserError(
            "--curves distils in both types by the bare step; leave --dtype, --loop, --objective and --padding out"
        )
    if case.vocab < SPECIAL_SYMBOLS + TOPICS:
        raise UserError(f"--vocab is {case.vocab}, but --curves needs at least {SPECIAL_SYMBOLS + TOPICS} for its data")


def percent_from(first: Sequence[float], losses: Sequence[float]) -> list[float]:
    """How far losses are from others, update by update."""
    return [100 * (loss / other - 1) for loss, other in zip(losses, first, strict=True)]


def training_curves(case: TrainingCase, updates: int) -> Iterator[tuple[str, list[float]]]:
    """Yield the losses of each way: of a student from random weights, beside a teacher that has learned the data.

    Args:
        case: sizes and device
        updates: of the teacher and of each student
    """
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory)
        write_random_data(data, case.vocab, case.lengths, case.batch * updates, topics=TOPICS)
        teacher = _learned_weights(case, data, updates)
        for name, way in WAYS.items():
            of_way = replace(case, dtype=way.dtype, teacher_dtype="auto")
            parts = build_parts(of_way, data)
            parts.model.teacher.load_state_dict(teacher)
            yield name, training_losses(parts, of_way, updates, way.is_plain).tolist()


def _learned_weights(case: TrainingCase, data: Path, updates: int) -> Mapping[str, Tensor]:
    case = replace(case, objective="masked_lm", positions="all", added="none", teacher_dtype="same")
    parts = build_parts(case, data)
    training_losses(parts, case, updates)
    return parts.model.state_dict()


def training_losses(parts: TrainingParts, case: TrainingCase, updates: int, is_plain: bool = False) -> Tensor:
    """Train without dropout, for which the paths would draw different numbers, and fast, as is right for tiny models.

    Args:
        parts: what trains
        case: the batch's size, and the device
        updates: how many
        is_plain: whether to take no fast path

    Returns:
        The objective of each update ``(updates,)``.
    """
    for module in parts.model.modules():
        if isinstance(module, Dropout):
            module.probability = 0.0
    parts.optimizer.set_lr(min(3e-3, 0.2 / case.width))
    step = TrainingStep(parts, case)
    with plain_paths(parts.optimizer) if is_plain else nullcontext():
        return torch.stack([step() for _ in range(updates)])
