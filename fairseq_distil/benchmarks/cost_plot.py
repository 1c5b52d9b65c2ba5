"""A picture of how the cost of a step grows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .figure import plt, save


def draw(sweeps: Mapping[str, Sequence[Mapping[str, Any]]], output: Path) -> None:
    """Draw time and memory, a column a size; the file appears when it is complete.

    Args:
        sweeps: records by the name of the size that differs between them
        output: PNG to write
    """
    figure, axes = plt.subplots(2, len(sweeps), figsize=(4 * len(sweeps), 6), squeeze=False, layout="constrained")
    for (name, records), (time_axis, memory_axis) in zip(sweeps.items(), axes.T, strict=True):
        values = [record[name] for record in records]
        time_axis.plot(values, [record["seconds_per_step"] for record in records], "o-", label="step")
        time_axis.plot(values, [record["limit_seconds"] for record in records], "--", label="arithmetic limit")
        time_axis.set(ylabel="seconds a step", ylim=(0, None))
        memory_axis.plot(values, [record["peak_mib"] / 1024 for record in records], "o-")
        memory_axis.set(xlabel=name, ylabel="peak memory in GiB", ylim=(0, None))
        time_axis.legend(fontsize="small")
        for axis in (time_axis, memory_axis):
            axis.set_xticks(values, [f"{value:,}" for value in values])
            axis.grid(alpha=0.3)
    save(figure, output)
