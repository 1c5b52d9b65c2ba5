#!/usr/bin/env python3
"""Draw the curves of training runs from their TensorBoard logs.

    python scripts/plot_training.py --run teacher=tb/teacher --run student=tb/student --output curves.png

Each run is a --tensorboard-logdir of fairseq-train. One panel a scalar; dashed: training, solid: validation.
"""

import argparse
import logging
import sys
from pathlib import Path

logging.basicConfig(level=logging.WARNING)  # before fairseq, which would show all that it and others log

from matplotlib.lines import Line2D  # noqa: E402
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

from fairseq_distil.benchmarks.figure import plt, save  # noqa: E402

PANELS = {
    "masked-LM perplexity": ("mlm_ppl", "ppl"),
    "masked-LM accuracy": ("mlm_accuracy",),
    "soft-target loss (bits)": ("soft_target_loss",),
    "cosine loss": ("cosine_loss",),
    "agreement with the teacher": ("teacher_agreement",),
}
"""Title of a panel, and the scalar's name in the logs: ``distillation``'s, or that of fairseq's ``masked_lm``."""
SPLITS = {"train_inner": ("training", "--"), "valid": ("validation", "-")}
"""What a folder of events is of, and how its curves are drawn."""

Curve = tuple[list[int], list[float]]


def read_scalars(folder: Path) -> dict[str, Curve]:
    """All scalars in an event folder: updates and values by name; empty if there is no such folder.

    A run that went on from a checkpoint repeats the updates since: of each update the last value counts.
    """
    if not folder.is_dir():
        return {}
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        name: _curve({event.step: event.value for event in events.Scalars(name)}) for name in events.Tags()["scalars"]
    }


def _curve(value_of_step: dict[int, float]) -> Curve:
    steps = sorted(value_of_step)
    return steps, [value_of_step[step] for step in steps]


def draw(runs: dict[str, Path], output: Path) -> None:
    """Draw every panel for which some run has a curve.

    Raises:
        ValueError: no run has any of the scalars
    """
    scalars = {(run, split): read_scalars(folder / split) for run, folder in runs.items() for split in SPLITS}
    panels = {
        title: names
        for title, names in PANELS.items()
        if any(name in found for found in scalars.values() for name in names)
    }
    if not panels:
        raise ValueError(f"no curves in {', '.join(map(str, runs.values()))}; expected folders of --tensorboard-logdir")
    figure, axes = plt.subplots(1, len(panels), figsize=(5 * len(panels), 4), squeeze=False, layout="constrained")
    colours = {run: f"C{index}" for index, run in enumerate(runs)}
    for axis, (title, names) in zip(axes[0], panels.items(), strict=True):
        for (run, split), found in scalars.items():
            curve = next((found[name] for name in names if name in found), None)
            if curve is not None:
                axis.plot(*curve, SPLITS[split][1], color=colours[run], marker="o", markersize=3)
        axis.set(title=title, xlabel="updates")
        if "perplexity" in title:
            axis.set_yscale("log")
        axis.grid(alpha=0.3)
    keys = [Line2D([], [], color=colour, label=run) for run, colour in colours.items()]
    keys += [Line2D([], [], color="grey", linestyle=dashes, label=name) for name, dashes in SPLITS.values()]
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys))
    save(figure, output)


def named_folder(text: str) -> tuple[str, Path]:
    """Read ``NAME=FOLDER``."""
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER")
    return name, Path(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=named_folder, action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--output", type=Path, required=True, help="PNG to write")
    arguments = parser.parse_args()
    names = [name for name, _ in arguments.run]
    try:
        if len(set(names)) < len(names):
            raise ValueError(f"--run names must differ, found {', '.join(names)}")
        draw(dict(arguments.run), arguments.output)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
