"""Two commands that take turns, each run in a process of its own, and the ratios of what they print."""

import json
import math
import os
import shlex
import shutil
import signal
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from fairseq_distil.errors import UserError

SAME_WORK = ("batch", "length", "padding", "layers", "width", "heads", "vocab", "positions", "device", "bf16")
"""What both must have measured alike, as far as both tell."""
NEEDED = ("seconds_per_step", "peak_mib")


def run_for_record(command: Sequence[str], seconds: float | None = None) -> dict[str, Any]:
    """Run a command; the last line that it prints is its record.

    Args:
        command: with its arguments
        seconds: after which it is killed

    Raises:
        UserError: it cannot be run, it fails, it takes longer, or it prints something else
    """
    shown = shlex.join(command)
    try:
        ended = _run(command, seconds)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{shown}: killed, not having ended in {seconds:g} seconds; see --peer-timeout") from error
    except OSError as error:
        raise UserError(f"{shown}: {error}") from error
    if ended.returncode < 0:
        hint = ", as the system does when memory runs out" * (-ended.returncode == signal.SIGKILL)
        raise UserError(f"{shown}: ended by {_name_of_signal(-ended.returncode)}{hint}")
    if ended.returncode:
        reason = (ended.stderr.strip() or "no message").splitlines()[-1].removeprefix("error: ")
        raise UserError(f"{shown}: failed with exit status {ended.returncode}: {reason}")
    try:
        record = json.loads(ended.stdout.strip().splitlines()[-1])
        json.dumps(record, allow_nan=False)
        missing = [key for key in NEEDED if not _is_measured(record[key])]
    except (IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
        missing = NEEDED
    if missing:
        needed = " and ".join(NEEDED)
        raise UserError(
            f"{shown}: its last line should be a JSON object of finite numbers, {needed} above 0 among them"
        )
    return record


def _run(command: Sequence[str], seconds: float | None) -> subprocess.CompletedProcess[str]:
    """In a session of its own, so that what the command has started ends with it, and holds no pipe open."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    with subprocess.Popen(command, start_new_session=True, **pipes) as process:
        try:
            output = process.communicate(timeout=seconds)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, *output)


def _name_of_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal, most of which have no name
        return f"signal {number}"


def _is_measured(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def alternate(
    ours: Sequence[str], other: Sequence[str], pairs: int, seconds_of_other: float | None = None
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the records of each pair. Who goes first changes from pair to pair, so that a drift of the machine cancels.

    Args:
        ours: a command
        other: another command
        pairs: turns of each
        seconds_of_other: after which the other one is killed

    Raises:
        UserError: one is no command; see also :func:`run_for_record`; or the two do not measure the same
    """
    for command in (ours, other):
        if shutil.which(command[0]) is None:
            raise UserError(f"{shlex.join(command)}: no command {command[0]} is found")
    run = {"ours": partial(run_for_record, ours), "other": partial(run_for_record, other, seconds_of_other)}
    for pair in range(pairs):
        records = {}
        for name in ("ours", "other") if pair % 2 == 0 else ("other", "ours"):
            records[name] = run[name]()
        require_same_work(records["ours"], records["other"])
        yield records["ours"], records["other"]


def require_same_work(ours: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Raise a UserError if two records tell of different work."""
    for key in SAME_WORK:
        if key in ours and key in other and _as_compared(ours[key]) != _as_compared(other[key]):
            raise UserError(f"not the same work: {key} is {ours[key]!r} here, but {other[key]!r} in the other command")
    if ours.get("padding") and "padding" not in other:
        raise UserError(f"not the same work: padding is {ours['padding']} here, and the other command tells of none")


def _as_compared(value: Any) -> Any:
    """torch's ``cuda:0`` is its ``cuda``."""
    return value.removesuffix(":0") if isinstance(value, str) else value


def summary(records: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, Any]:
    """Ratios over pairs of records, ours first: above 1, ours is the faster one; below 1, the smaller one.

    With what ours was measured with and the other one does not tell.
    """
    times = [other["seconds_per_step"] / ours["seconds_per_step"] for ours, other in records]
    memories = [ours["peak_mib"] / other["peak_mib"] for ours, other in records]
    return {
        "pairs": len(records),
        "not_compared": sorted(
            {key for ours, other in records for key in SAME_WORK if key in ours and key not in other}
        ),
        "other_time_over_ours": spread(times),
        "our_memory_over_other": spread(memories),
        "seconds_per_step": spread([ours["seconds_per_step"] for ours, _ in records]),
        "other_seconds_per_step": spread([other["seconds_per_step"] for _, other in records]),
        "peak_mib": spread([ours["peak_mib"] for ours, _ in records]),
        "other_peak_mib": spread([other["peak_mib"] for _, other in records]),
    }


def spread(values: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Median, smallest and largest."""
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in found.items()}
