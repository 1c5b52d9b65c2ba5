"""Pictures of measurements, drawn where there may be no screen."""

import logging
from functools import partial
from pathlib import Path

logging.getLogger("matplotlib").setLevel(logging.WARNING)  # fairseq makes the root logger tell everything

import matplotlib  # noqa: E402

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from fairseq_distil.atomic_file import replace_whole  # noqa: E402

__all__ = ["plt", "save"]


def save(figure: Figure, output: Path) -> None:
    """Write a PNG, which appears when it is complete, and forget the figure."""
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        replace_whole(output, partial(figure.savefig, format="png", dpi=110))
    finally:
        plt.close(figure)
