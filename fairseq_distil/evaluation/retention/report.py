"""The retention report, for people (Markdown, a picture) and for programs (JSON)."""

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from fairseq_distil.evaluation.model_size import ModelSize
from fairseq_distil.evaluation.report import markdown_table, write_texts

from .downstream_tasks import DownstreamTask
from .origin import Origin
from .overrides import OF_DISTILLATION
from .picture import AVERAGE, draw
from .retention import Retention


def write_retention_report(retention: Retention, sizes: Sequence[ModelSize], directory: Path, origin: Origin) -> str:
    """Write ``report.md``, ``report.json`` and ``report.png``, each whole or not at all; returns the Markdown.

    Args:
        retention: the scores
        sizes: of the encoders
        directory: to write to
        origin: of the scores
    """
    tables = [scores_table(retention), details_table(retention), sizes_table(sizes), paper_table(retention)]
    text = "\n\n".join(filter(None, [*origin.lines(retention.tasks), _distillation(retention), *tables]))
    draw(retention, directory / "report.png")
    write_texts(directory, text, origin.as_dictionary() | _as_dictionary(retention, sizes))
    return text


def _distillation(retention: Retention) -> str:
    """How those that have a teacher learned, or nothing."""
    if not retention.distilled:
        return ""
    settings = ", ".join(f"{name}={value}" for name, value in OF_DISTILLATION.items())
    return (
        f"{' and '.join(retention.distilled)}: fine-tuned with the labels and the outputs of {retention.models[0]} "
        f"that was fine-tuned on the same task with the same seed; {settings}, unless changed above."
    )


def scores_table(retention: Retention) -> str:
    """Medians over the seeds with the lowest and the highest, averages, and what is kept of the first model."""
    teacher, *_ = retention.models
    rows = [
        [_title(task), *(_spread(retention.scores(model, task)) for model in retention.models), _percent(chance)]
        for task, chance in ((task, retention.chance[task.name]) for task in retention.tasks)
    ]
    lowest = statistics.mean(retention.chance[task.name] for task in retention.tasks)
    rows.append(_row(AVERAGE, retention, retention.average) + [_percent(lowest)])
    rows.append(_row(f"% of {teacher}'s average", retention, retention.kept) + [""])
    rows.append(
        [_title_above_chance(retention), *(_kept_above_chance(retention, model) for model in retention.models), ""]
    )
    seeds = max(map(len, retention.runs.values()))
    header = [
        "one seed" if seeds == 1 else f"median of {seeds} seeds (lowest to highest)",
        *retention.models,
        "always one answer",
    ]
    return markdown_table(header, rows)


def details_table(retention: Retention) -> str:
    """The other metrics of the tasks that have several, or nothing."""
    rows = [
        [f"{task.name}, {metric}", *(_spread(retention.scores(model, task, metric)) for model in retention.models)]
        for task in retention.tasks
        for metric in task.details
    ]
    return markdown_table(["other metrics", *retention.models], rows) if rows else ""


def sizes_table(sizes: Sequence[ModelSize]) -> str:
    """Size, and latency of one sequence, of the encoders without their heads."""
    first = sizes[0]
    header = [
        "encoder without heads",
        "layers",
        "parameters",
        "of the first",
        "MB",
        "latency (ms)",
        "speed-up",
    ]
    rows = [
        [
            size.name,
            str(size.layers),
            f"{size.parameters:,}",
            f"{size.parameters / first.parameters:.0%}",
            f"{size.megabytes:.1f}",
            f"{1000 * size.latency:.2f}",
            f"{first.latency / size.latency:.2f}x",
        ]
        for size in sizes
    ]
    return markdown_table(header, rows)


def paper_table(retention: Retention) -> str:
    """The same tasks in the paper: Sanh et al. (2019), tables 1 and 2, medians of 5 seeds on the development sets.

    Nothing where the paper has none of them. DistilBERT (D) is there where models were distilled alike.
    """
    tasks = [task for task in retention.tasks if task.paper is not None]
    if not tasks:
        return ""
    columns = list(zip(*(task.paper for task in tasks), strict=True))
    rows = [_paper_row(_title(task), *task.paper) for task in tasks]
    bert, distilbert = map(statistics.mean, columns)
    rows.append(_paper_row(AVERAGE, bert, distilbert))
    rows += [
        _paper_row(f"{_title(task)}: DistilBERT (D)", task.paper[0], task.paper_distilled)
        for task in tasks
        if retention.distilled and task.paper_distilled is not None
    ]
    return markdown_table(["the paper", "BERT-base", "DistilBERT", "% kept"], rows)


def _paper_row(title: str, bert: float, distilbert: float) -> list[str]:
    return [title, _percent(bert), _percent(distilbert), _percent(100 * distilbert / bert)]


def _title(task: DownstreamTask) -> str:
    return f"{task.name}, {task.metric}"


def _title_above_chance(retention: Retention) -> str:
    title, tasks = f"% of {retention.models[0]}'s average above chance", retention.tasks_above_chance()
    if tasks == retention.tasks:
        return title
    return f"{title}, of {', '.join(task.name for task in tasks)}" if tasks else f"{title}, which it is in no task"


def _kept_above_chance(retention: Retention, model: str) -> str:
    kept = retention.kept_above_chance(model)
    return "" if kept is None else _spread(retention.kept_above_chance_by_seed(model), middle=kept)


def _row(title: str, retention: Retention, value: Callable[[str], float | None]) -> list[str]:
    return [title, *(_percent(value(model)) for model in retention.models)]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _spread(scores: Sequence[float], middle: float | None = None) -> str:
    spread = f" ({min(scores):.1f} to {max(scores):.1f})" if len(scores) > 1 else ""
    return f"{statistics.median(scores) if middle is None else middle:.1f}{spread}"


def _as_dictionary(retention: Retention, sizes: Sequence[ModelSize]) -> dict:
    return {
        "teacher": retention.models[0],
        "models": [
            {
                **dataclasses.asdict(size),
                "distilled": size.name in retention.distilled,
                "average": retention.average(size.name),
                "percent_kept": retention.kept(size.name),
                "percent_kept_above_chance": retention.kept_above_chance(size.name),
                "percent_kept_above_chance_by_seed": retention.kept_above_chance_by_seed(size.name),
                "tasks": {
                    task.name: {
                        "metric": task.metric,
                        "median": retention.median(size.name, task),
                        "runs": list(retention.runs[size.name, task.name]),
                    }
                    for task in retention.tasks
                },
            }
            for size in sizes
        ],
        "chance": dict(retention.chance),
        "tasks_above_chance": [task.name for task in retention.tasks_above_chance()],
        "paper": {
            task.name: dict(zip(("BERT-base", "DistilBERT"), task.paper, strict=True))
            for task in retention.tasks
            if task.paper is not None
        },
    }
