"""Time of making a masked batch: this task's way and fairseq's, from the same data."""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fairseq import tasks
from fairseq.data import FairseqDataset
from fairseq.dataclass.configs import FairseqConfig
from fairseq.dataclass.initialize import add_defaults
from omegaconf import OmegaConf

from .random_data import write_random_data
from .training_parts import MASK_PROB

WARM_UP_BATCHES = 2


def measure_collation(vocabulary_size: int, batch: int, length: int, batches: int) -> list[dict[str, Any]]:
    """Time batches of both tasks in turn, each of samples that were not read before.

    Args:
        vocabulary_size: symbols, specials and mask included
        batch: samples of a batch
        length: tokens of a sample, ``<s>`` included
        batches: timed ones

    Returns:
        A record for each task: milliseconds a batch in all, and without reading the unmasked samples.
    """
    groups = [range(first, first + batch) for first in range(0, batch * (WARM_UP_BATCHES + batches), batch)]
    with tempfile.TemporaryDirectory() as directory:
        write_random_data(Path(directory), vocabulary_size, [length], groups[-1].stop)
        ours = _dataset("distil_masked_lm", directory, length)
        theirs = _dataset("masked_lm", directory, length)
        actions = {
            "read": lambda ids: [ours.tokens[index] for index in ids],
            "fairseq_distil": lambda ids: ours.collater([ours[index] for index in ids]),
            "fairseq": lambda ids: theirs.collater([theirs[index] for index in ids]),
        }
        seconds = time_in_turn(actions, groups)
    shape = {"batch": batch, "length": length, "vocab": vocabulary_size, "batches": batches}
    return [
        collation_record(system, seconds[system], seconds["read"]) | shape for system in ("fairseq_distil", "fairseq")
    ]


def time_in_turn(
    actions: dict[str, Callable[[Sequence[int]], Any]],
    groups: Sequence[Sequence[int]],
    now: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Seconds of each action on each group after the first few, which warm up.

    By default of the processor, which other processes' work does not add to: batches take about a millisecond.
    """
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for group in groups:
        for name, action in actions.items():
            start = now()
            action(group)
            seconds[name].append(now() - start)
    return {name: measured[WARM_UP_BATCHES:] for name, measured in seconds.items()}


def collation_record(system: str, seconds: Sequence[float], read_seconds: Sequence[float]) -> dict[str, Any]:
    """Medians in milliseconds; masking and collation is what is left when reading is taken out, batch by batch."""
    rest = [whole - read for whole, read in zip(seconds, read_seconds, strict=True)]
    return {
        "system": system,
        "masking_and_collation_ms": round(1000 * statistics.median(rest), 4),
        "min_ms": round(1000 * min(rest), 4),
        "max_ms": round(1000 * max(rest), 4),
        "with_reading_ms": round(1000 * statistics.median(seconds), 4),
    }


def _dataset(task_name: str, data: str, length: int) -> FairseqDataset:
    task = {"_name": task_name, "data": data, "tokens_per_sample": length, "mask_prob": MASK_PROB}
    cfg = OmegaConf.merge(OmegaConf.structured(FairseqConfig), {"task": task})
    add_defaults(cfg)
    fairseq_task = tasks.setup_task(cfg.task)
    fairseq_task.load_dataset("train")
    return fairseq_task.dataset("train")
