"""Scores of all runs, and what they say: medians, averages, and the part of the teacher's that is kept."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .downstream_tasks import DownstreamTask
from .jobs import DIGITS, Job


@dataclass(frozen=True)
class Retention:
    """Scores in percent.

    Args:
        models: names; the first is the teacher
        tasks: in the order of the tables
        runs: scores by model and task, one dictionary of metrics a seed
        chance: by task, see :func:`chance`
        distilled: names of those that learned from the fine-tuned teacher as well
    """

    models: tuple[str, ...]
    tasks: tuple[DownstreamTask, ...]
    runs: Mapping[tuple[str, str], Sequence[Mapping[str, float]]]
    chance: Mapping[str, float]
    distilled: tuple[str, ...] = ()

    def scores(self, model: str, task: DownstreamTask, metric: str | None = None) -> list[float]:
        """Of all seeds, by default of the metric that counts."""
        return [run[metric or task.metric] for run in self.runs[model, task.name]]

    def median(self, model: str, task: DownstreamTask, metric: str | None = None) -> float:
        return statistics.median(self.scores(model, task, metric))

    def average(self, model: str) -> float:
        """Of the tasks' medians."""
        return statistics.mean(self.median(model, task) for task in self.tasks)

    def kept(self, model: str) -> float | None:
        """Percent of the teacher's average: the paper's 97. None where that is not positive, as of correlations."""
        average = self.average(self.models[0])
        return 100 * self.average(model) / average if average > 0 else None

    def tasks_above_chance(self) -> tuple[DownstreamTask, ...]:
        """Those in which the teacher is, with every seed: of the others there is nothing to keep."""
        lowest = {task: min(self.scores(self.models[0], task)) for task in self.tasks}
        return tuple(task for task in self.tasks if lowest[task] > round(self.chance[task.name], DIGITS))

    def kept_above_chance(self, model: str) -> float | None:
        """Percent of what the teacher's average of :meth:`tasks_above_chance` is above chance; None: there are none."""
        return self._part_above_chance([self.median(model, task) for task in self.tasks_above_chance()])

    def kept_above_chance_by_seed(self, model: str) -> list[float]:
        """The same of each seed's scores, in order."""
        seeds = zip(*(self.scores(model, task) for task in self.tasks_above_chance()), strict=False)
        return [part for scores in seeds if (part := self._part_above_chance(scores)) is not None]

    def _part_above_chance(self, scores: Sequence[float]) -> float | None:
        tasks = self.tasks_above_chance()
        if not tasks:
            return None
        chance = statistics.mean(self.chance[task.name] for task in tasks)
        teachers = statistics.mean(self.median(self.models[0], task) for task in tasks)
        return 100 * (statistics.mean(scores) - chance) / (teachers - chance)


def retention_of(jobs: Sequence[Job], chance: Mapping[str, float]) -> Retention:
    """Collect the results of finished jobs, the teacher's first."""
    runs: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    for job in jobs:
        runs.setdefault((job.model, job.task.name), []).append(job.result())
    models = tuple(dict.fromkeys(job.model for job in jobs))
    tasks = tuple({job.task.name: job.task for job in jobs}.values())
    distilled = tuple(dict.fromkeys(job.model for job in jobs if job.teacher is not None))
    return Retention(models, tasks, runs, chance, distilled)
