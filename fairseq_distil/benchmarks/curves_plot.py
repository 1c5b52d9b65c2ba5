"""A picture of training curves that are to overlay."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from .curves import percent_from
from .figure import plt, save

STYLES = ((4.0, "-"), (1.5, "-"), (3.0, "-"), (1.0, "--"))
"""Width and dashes of each curve: those without fast paths shine out from under the others."""


def draw_curves(curves: Mapping[str, Sequence[float]], output: Path) -> None:
    """Draw the losses, and beside them how far each is from the first, in percent.

    Args:
        curves: losses of each update by the name of a curve; four at most
        output: PNG to write
    """
    figure, (losses_axis, distance_axis) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    first, *_ = curves.values()
    updates = range(1, len(first) + 1)
    for index, ((name, losses), (width, dashes)) in enumerate(zip(curves.items(), STYLES, strict=False)):
        style = {"color": f"C{index}", "linewidth": width, "linestyle": dashes, "label": name}
        losses_axis.plot(updates, losses, **style)
        if index:
            distance_axis.plot(updates, percent_from(first, losses), **style)
    losses_axis.set(xlabel="updates", ylabel="objective", ylim=(0, None))
    distance_axis.set(xlabel="updates", ylabel=f"% from {next(iter(curves))}")
    for axis in (losses_axis, distance_axis):
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    save(figure, output)
