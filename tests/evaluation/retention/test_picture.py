"""What is drawn: bars, their spread and lines, at the right heights."""

import dataclasses

from matplotlib.axes import Axes
from matplotlib.container import BarContainer

from fairseq_distil.evaluation.retention.picture import bars
from fairseq_distil.evaluation.retention.retention import Retention


def bars_of(axis: Axes) -> list[BarContainer]:
    return [container for container in axis.containers if isinstance(container, BarContainer)]


def spreads(drawn: BarContainer) -> list[list[float]]:
    """Ends of each bar's vertical line."""
    (lines,) = drawn.errorbar.lines[2]
    return [segment[:, 1].tolist() for segment in lines.get_segments() if segment.size]


def test_medians_with_their_spread_and_chance(retention: Retention) -> None:
    figure = bars(retention)
    (axis,) = figure.axes
    teacher, student = bars_of(axis)
    assert [bar.get_height() for bar in teacher] == [70, 90, 80]  # the last is the average
    assert [bar.get_height() for bar in student] == [65, 84, 74.5]
    assert spreads(teacher) == [[60, 80], [86, 90]] and spreads(student) == [[50, 66], [80, 85]]
    chances = [lines.get_segments()[0][0][1] for lines in axis.collections if lines.get_linestyle()[0][1] is not None]
    assert chances == [52, 0, 26]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["RTE", "STS-B", "average"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "teacher",
        "student: 93.1 % of teacher's average, 89.8 % of what it is above chance",
    ]


def test_one_seed_has_no_spread(retention: Retention) -> None:
    runs = {key: scores[:1] for key, scores in retention.runs.items()}
    (axis,) = bars(dataclasses.replace(retention, runs=runs)).axes
    assert [spreads(drawn) for drawn in bars_of(axis)] == [[], []]
