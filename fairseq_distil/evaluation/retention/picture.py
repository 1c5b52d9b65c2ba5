"""The picture of the retention report."""

import math
import statistics
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fairseq_distil.atomic_file import replace_whole

from .retention import Retention

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AVERAGE = "average"
WIDTH = 0.8
"""Of the bars of a task together, of the distance from one to the next."""


def draw(retention: Retention, path: Path) -> None:
    """Write the picture of :func:`bars` as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_whole(path, partial(bars(retention).savefig, format="png"))


def bars(retention: Retention) -> "Figure":
    """The medians as bars with the lowest and the highest of several seeds, their average, and chance as lines."""
    from matplotlib.figure import Figure  # which talks to fairseq's logger while it is imported

    labels = [task.name for task in retention.tasks] + [AVERAGE]
    size = (max(6.5, 2 + 1.2 * len(labels)), 4 + 0.2 * len(retention.models))  # so that the legend fits
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    axis = figure.subplots()
    width = WIDTH / len(retention.models)
    for index, model in enumerate(retention.models):
        positions = [place + (index + 0.5) * width - WIDTH / 2 for place in range(len(labels))]
        heights = [retention.median(model, task) for task in retention.tasks] + [retention.average(model)]
        axis.bar(positions, heights, width, yerr=_spread(retention, model), capsize=2, label=_label(retention, model))
    chances = [retention.chance[task.name] for task in retention.tasks]
    for place, chance in enumerate([*chances, statistics.mean(chances)]):
        axis.hlines(chance, place - WIDTH / 2, place + WIDTH / 2, colors="black", linestyles="dotted")
    axis.set(ylabel="score, % (dotted: always one answer)", xticks=range(len(labels)), xticklabels=labels)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.grid(axis="y", alpha=0.3)
    axis.set_axisbelow(True)
    figure.legend(fontsize="small", loc="outside upper center")
    return figure


def _spread(retention: Retention, model: str) -> list[list[float]]:
    """From each median down to the lowest seed, and up to the highest; of one seed, and the average, none."""
    below, above = [], []
    for task in retention.tasks:
        scores, median = retention.scores(model, task), retention.median(model, task)
        below.append(median - min(scores) if len(scores) > 1 else math.nan)
        above.append(max(scores) - median if len(scores) > 1 else math.nan)
    return [[*below, math.nan], [*above, math.nan]]


def _label(retention: Retention, model: str) -> str:
    teacher = retention.models[0]
    kept, above_chance = retention.kept(model), retention.kept_above_chance(model)
    if model == teacher or kept is None:
        return model
    of_average = f"{model}: {kept:.1f} % of {teacher}'s average"
    return of_average if above_chance is None else f"{of_average}, {above_chance:.1f} % of what it is above chance"
