"""How the scores of a report came about."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairseq_distil.evaluation.machine import Machine
from fairseq_distil.version import source_version

from .downstream_tasks import DownstreamTask
from .jobs import Job


@dataclass(frozen=True)
class Origin:
    """Settings, samples, versions and the machine.

    Args:
        overrides: settings of the recipes that were changed
        sizes: of the tasks' samples, by the tasks' names, see :func:`sample_limits`
        runs: their names by the version of this package that began them
        machine: that finished the report
    """

    overrides: Sequence[str]
    sizes: Mapping[str, Mapping[str, int]]
    runs: Mapping[str, Sequence[str]]
    machine: Machine

    def lines(self, tasks: Sequence[DownstreamTask]) -> list[str]:
        """Sentences for people."""
        recipes = ", ".join(dict.fromkeys(f"examples/{task.recipe}" for task in tasks))
        tasks_of: dict[str, list[str]] = {}
        for name, sizes in self.sizes.items():
            in_words = ", ".join(f"{size.replace('_', ' ')} {tokens}" for size, tokens in sizes.items())
            tasks_of.setdefault(in_words, []).append(name)
        samples = "; ".join(f"{', '.join(names)}: {in_words}" for in_words, names in tasks_of.items())
        lines = [
            f"Fine-tuned by {recipes}, changed by: {', '.join(self.overrides) or 'nothing'}.",
            f"Samples, in tokens: {samples}.",
            f"fairseq_distil {source_version()}, {self.machine}.",
        ]
        others = {version: runs for version, runs in self.runs.items() if version != source_version()}
        if others:
            counts = ", ".join(f"{version}: {len(runs)}" for version, runs in others.items())
            lines.append(f"**Other versions have begun some of the runs, which report.json names: {counts}.**")
        return lines

    def as_dictionary(self) -> dict[str, Any]:
        return {
            "overrides": list(self.overrides),
            "samples": {name: dict(sizes) for name, sizes in self.sizes.items()},
            "version": source_version(),
            "runs_by_version": {version: list(runs) for version, runs in self.runs.items()},
            "machine": dataclasses.asdict(self.machine),
        }


def runs_by_version(jobs: Sequence[Job]) -> dict[str, list[str]]:
    """Names of runs by the version that began them."""
    runs: dict[str, list[str]] = {}
    for job in jobs:
        runs.setdefault(job.version(), []).append(job.name)
    return runs
