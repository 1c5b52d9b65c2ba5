"""From encoders and the official files of the tasks to the retention report."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from fairseq import utils
from fairseq.data import Dictionary

from fairseq_distil.data.dictionary_check import MASK_SYMBOL, load_shared_dictionary
from fairseq_distil.errors import UserError
from fairseq_distil.evaluation.machine import this_machine
from fairseq_distil.evaluation.model_size import model_sizes
from fairseq_distil.models import DistilEncoderModel
from fairseq_distil.models.encoder_loading import read_checkpoint, read_encoder

from .chance import chance
from .downstream_tasks import DOWNSTREAM_TASKS, EXAMPLES, DownstreamTask
from .grid import run_grid
from .jobs import Job
from .origin import Origin, runs_by_version
from .overrides import distillation_of, overrides_of, require_valid_overrides
from .prepared_tasks import prepare_task, sample_limits
from .report import write_retention_report
from .retention import retention_of

LATENCY_TOKENS = 128


@dataclass(frozen=True)
class Comparison:
    """What is compared, and how.

    Args:
        models: checkpoints, or directories of transformers, by name; the first is the teacher; for paths with
            ``{seed}`` see :func:`of_seed`
        distilled: likewise, what is fine-tuned with the labels and the teacher that is fine-tuned with the same seed
        tasks: see :func:`find_tasks`
        glue, squad: directories with the official files
        data: of the pre-training, with ``dict.txt`` and the tokeniser; None: what the first checkpoint was trained on
        seeds: runs of each encoder on each task
        at_a_time: runs side by side
        overrides: settings of the recipes to change, see :func:`overrides_of`
        output: directory for the data, the runs and the report
    """

    models: Mapping[str, Path]
    distilled: Mapping[str, Path]
    tasks: Sequence[DownstreamTask]
    glue: Path | None
    squad: Path | None
    data: Path | None
    seeds: int
    at_a_time: int
    overrides: tuple[str, ...]
    output: Path


def measure_retention(comparison: Comparison) -> str:
    """Run what has not run yet, and write the report; returns its Markdown.

    Raises:
        UserError: something is wrong with the encoders, the files, or what the output holds of an earlier call
    """
    names = [*DOWNSTREAM_TASKS, *(task.name for task in comparison.tasks)]
    require_valid_overrides(comparison.overrides, names, distils=bool(comparison.distilled))
    data = comparison.data or _data_of(of_seed(next(iter(comparison.models.values())), 1))
    dictionary = load_shared_dictionary([str(data)])
    dictionary.add_symbol(MASK_SYMBOL)
    paths = {**comparison.models, **comparison.distilled}
    models = {name: _load(of_seed(path, 1), dictionary, data) for name, path in paths.items()}
    positions = min(model.max_positions() for model in models.values())
    prepared = {
        task.name: prepare_task(task, comparison.glue, comparison.squad, data, comparison.output / "data", positions)
        for task in comparison.tasks
    }
    jobs = _jobs(comparison, prepared)
    run_grid(jobs, comparison.at_a_time)
    retention = retention_of(jobs, {task.name: chance(task, prepared[task.name]) for task in comparison.tasks})
    sizes = model_sizes(models, min(LATENCY_TOKENS, positions))
    origin = Origin(
        overrides=_changes(comparison),
        sizes={task.name: sample_limits(task, positions) for task in comparison.tasks},
        runs=runs_by_version(jobs),
        machine=this_machine(),
    )
    return write_retention_report(retention, sizes, comparison.output, origin)


def of_seed(path: Path, seed: int) -> Path:
    """A model's checkpoint for a seed: ``{seed}`` in its path stands for that of its own training."""
    return Path(str(path).replace("{seed}", str(seed)))


def default_jobs() -> int:
    """Runs side by side: two, where there are the cores; one on a GPU."""
    return 1 if torch.cuda.is_available() else min(2, len(os.sched_getaffinity(0)))


def _changes(comparison: Comparison) -> tuple[str, ...]:
    """Of all recipes."""
    device = () if torch.cuda.is_available() else ("common.cpu=true",)
    return device + comparison.overrides


def _jobs(comparison: Comparison, prepared: Mapping[str, Path]) -> list[Job]:
    """All runs, teachers before those that learn from them."""
    changes = _changes(comparison)

    def job(name: str, path: Path, task: DownstreamTask, seed: int, teacher: Job | None = None) -> Job:
        return Job(
            model=name,
            checkpoint=of_seed(path, seed),
            task=task,
            recipe=EXAMPLES / task.recipe,
            data=prepared[task.name],
            seed=seed,
            folder=comparison.output / "runs" / name / task.name / f"seed{seed}",
            overrides=task.settings
            + overrides_of(task.name, changes)
            + (distillation_of(task, changes) if teacher else ()),
            teacher=teacher,
        )

    jobs: list[Job] = []
    for seed in range(1, comparison.seeds + 1):  # so that a first impression of all comes early
        columns = [[job(*model, task, seed) for model in comparison.models.items()] for task in comparison.tasks]
        jobs += [run for column in columns for run in column]
        jobs += [
            job(*model, teacher.task, seed, teacher)
            for teacher, *_ in columns
            for model in comparison.distilled.items()
        ]
    return jobs


def _load(path: Path, dictionary: Dictionary, data: Path) -> DistilEncoderModel:
    stored = read_encoder(str(path), dictionary, str(data), role="model")
    return DistilEncoderModel.restored(stored.config, stored.weights).eval()


def _data_of(checkpoint: Path) -> Path:
    """The data that a checkpoint was trained on, as it says."""
    if checkpoint.is_file():
        cfg = read_checkpoint(str(checkpoint), role="model").get("cfg") or {}
        paths = utils.split_paths(str((cfg.get("task") or {}).get("data") or ""))
        if paths and (Path(paths[0]) / "dict.txt").is_file():
            return Path(paths[0])
    raise UserError(f"{checkpoint}: its data is not known; give --data, the directory with dict.txt and the tokeniser")
