"""Latency of several models that take turns, and the claims of the paper."""

import math
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch

from fairseq_distil.errors import UserError

from .device import synchronize
from .exit_status import is_out_of_memory
from .inference_models import Runner
from .training_case import SPECIAL_SYMBOLS

WARM_UP_ROUNDS = 3
LEAST_ROUNDS = 3
SMALL_VOCABULARY = 32
"""for graphs that do not tell theirs"""
FEWER_PARAMETERS = 0.40
TIMES_THE_SPEED = 1.6
"""Sanh et al. (2019): 40 % fewer parameters, 60 % faster at batch 1 on a CPU."""


def measure_latencies(
    runners: Sequence[Runner], batch: int, length: int, rounds: int, seconds: float, device: str
) -> list[dict[str, Any]]:
    """A record for each runner: percentiles of the milliseconds for one batch.

    Args:
        runners: all of them take turns within a round
        batch: sequences
        length: tokens of each
        rounds: measurements of each, after three to warm up
        seconds: after which no further round begins, but three are done
        device: of the ids
    """
    known = [runner.vocabulary_size for runner in runners if runner.vocabulary_size is not None]
    ids = ordinary_ids(batch, length, min(known, default=SMALL_VOCABULARY)).to(device)
    measured: list[list[float]] = [[] for _ in runners]
    for _ in range(WARM_UP_ROUNDS):
        for runner in runners:
            _warm_up(runner, ids)
    start = time.perf_counter()
    for done in range(rounds):
        if done >= LEAST_ROUNDS and time.perf_counter() - start > seconds:
            break
        for runner, times in zip(runners, measured, strict=True):
            times.append(timed(runner, ids))
    return [latency_record(r, batch, length, times) for r, times in zip(runners, measured, strict=True)]


def ordinary_ids(batch: int, length: int, vocabulary_size: int) -> torch.Tensor:
    """Ids ``(batch, length)``, none of which is a special symbol: those are the first four and perhaps the last."""
    return torch.arange(batch * length).view(batch, length) % (vocabulary_size - SPECIAL_SYMBOLS) + SPECIAL_SYMBOLS - 1


def _warm_up(runner: Runner, ids: torch.Tensor) -> None:
    try:
        timed(runner, ids)
    except Exception as error:  # each runtime has its own for a shape that a model does not take
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())
        raise UserError(f"{runner.name}: cannot run {len(ids)} x {ids.size(1)} tokens: {reason}") from error


@torch.inference_mode()
def timed(runner: Runner, ids: torch.Tensor) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    runner.run(ids)
    synchronize(str(ids.device))
    return time.perf_counter() - start


def latency_record(runner: Runner, batch: int, length: int, seconds: Sequence[float]) -> dict[str, Any]:
    """What is printed of one runner at one shape."""
    return {
        "model": runner.name,
        "runtime": runner.runtime,
        "dtype": runner.dtype,
        "outputs": runner.outputs,
        "batch": batch,
        "length": length,
        "p50_ms": round(1000 * statistics.median(seconds), 3),
        "p95_ms": round(1000 * percentile(seconds, 95), 3),
        "rounds": len(seconds),
        "parameters": runner.parameters,
        "file_mib": round(runner.file_mib, 1),
        "threads": torch.get_num_threads(),
    }


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least ``percent`` of them do not exceed."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def claims(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The paper's claims for each model but the first, against the first in the same runtime and type.

    Speed is compared at batch 1, at each length.
    """
    found: dict[str, dict[str, Any]] = {}
    for base in (record for record in records if record["model"] == records[0]["model"]):
        for other in (record for record in records if record["model"] != base["model"]):
            if any(base[key] != other[key] for key in ("runtime", "dtype", "batch", "length")):
                continue
            if base["parameters"] and other["parameters"]:
                fewer = 1 - other["parameters"] / base["parameters"]
                row = _claim("fewer parameters", base, other, fewer, FEWER_PARAMETERS)
                found.setdefault(f"parameters {other['model']}", row)
            if base["batch"] == 1:
                shape = {key: base[key] for key in ("runtime", "dtype", "length")}
                speed = base["p50_ms"] / other["p50_ms"]
                row = _claim("speed at batch 1", base, other, speed, TIMES_THE_SPEED) | shape
                found[f"{other['model']} {shape}"] = row
    return list(found.values())


def _claim(claim: str, base: dict[str, Any], other: dict[str, Any], measured: float, at_least: float) -> dict[str, Any]:
    names = {"claim": claim, "model": other["model"], "than": base["model"]}
    return names | {"measured": round(measured, 4), "at_least": at_least, "met": measured >= at_least}


def markdown(records: Sequence[dict[str, Any]]) -> str:
    """The records as a table."""
    columns = ("model", "runtime", "dtype", "outputs", "batch", "length", "p50_ms", "p95_ms", "parameters", "file_mib")
    lines = [f"| {' | '.join(columns)} |", "|---" * 4 + "|---:" * (len(columns) - 4) + "|"]
    lines += [f"| {' | '.join(_cell(record[column]) for column in columns)} |" for record in records]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int | float) else str(value)
