"""Tasks of one's own: directories that scripts/prepare_glue.py wrote, fine-tuned by one recipe."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from fairseq_distil.data.binarized_check import require_whole_split
from fairseq_distil.data.dictionary_check import load_dictionary, load_shared_dictionary, require_same_symbols
from fairseq_distil.errors import UserError

from .downstream_tasks import DOWNSTREAM_TASKS, EXAMPLES, DownstreamTask

RECIPE = "glue/config/own.yaml"
SHARED = "glue/config/shared.yaml"
WARM_UP = 0.06
"""Part of the updates, as in the recipes of GLUE."""
DECIDING = ("dataset.batch_size", "optimization.update_freq", "optimization.max_epoch")
"""Settings that decide how many updates there are."""
SPLITS = ("train", "valid")


def own_task(name: str, data: Path, overrides: Sequence[str]) -> DownstreamTask:
    """The task that a prepared directory holds: classes with accuracy, or numbers with their correlations.

    Args:
        name: of the task
        data: directory that scripts/prepare_glue.py wrote, with the splits ``train`` and ``valid``
        overrides: changes of the recipe, of which ``DECIDING`` decide how many updates there are

    Raises:
        UserError: the name is that of another task, or the directory is not such a one
    """
    if name in DOWNSTREAM_TASKS:
        raise UserError(f"--own {name}={data}: {name} is a task of the paper; choose another name")
    if not (data / "dict.txt").is_file() or not (data / "label").is_dir():
        raise UserError(f"--own {name}={data}: not a directory that scripts/prepare_glue.py wrote; prepare it first")
    updates = _updates(len(sample_sizes(data, "train")), overrides)
    settings = [f"optimization.max_update={updates}", f"lr_scheduler.warmup_updates={round(WARM_UP * updates)}"]
    labels = data / "label" / "dict.txt"
    if labels.is_file():
        classes = len(dictionary := load_dictionary(str(labels))) - dictionary.nspecial
        return DownstreamTask(name, RECIPE, "accuracy", settings=(f"task.num_classes={classes}", *settings), data=data)
    metric = "pearson_and_spearman"
    regression = ("criterion.regression_target=true", f"criterion.report_{metric}=true")
    best = f"checkpoint.best_checkpoint_metric={metric}"
    settings = ("task.num_classes=1", *regression, best, *settings)
    return DownstreamTask(name, RECIPE, metric, None, ("pearson", "spearman"), settings, data)


def require_suitable(task: DownstreamTask, vocabulary: Path, positions: int) -> None:
    """Check that a task's data are of the encoders' vocabulary, and short enough for all of them.

    Args:
        task: from :func:`own_task`
        vocabulary: directory of the pre-training's data
        positions: of the shortest encoder

    Raises:
        UserError: they are not
    """
    subject = f"--own {task.name}={task.data}"
    ours, theirs = (load_shared_dictionary([str(directory)]).symbols for directory in (task.data, vocabulary))
    require_same_symbols(subject, ours, f"the encoders' data {vocabulary}", theirs)
    for split in SPLITS:
        longest = int(sample_sizes(task.data, split).max())
        if longest > positions:
            raise UserError(
                f"{subject}: a sample of {split} has {longest} tokens, but the shortest encoder {positions} positions; "
                f"prepare the data with --max-tokens {positions}"
            )


def sample_sizes(data: Path, split: str) -> np.ndarray:
    """Tokens of each sample of a split, ``<s>`` included, ``(rows,)``.

    Raises:
        UserError: its files are missing or damaged
    """
    vocabulary_size = len(load_shared_dictionary([str(data)]))
    inputs = ("input0", "input1") if (data / "input1").is_dir() else ("input0",)
    return 1 + sum(require_whole_split(str(data / name / split), vocabulary_size) for name in inputs)


def _updates(rows: int, overrides: Sequence[str]) -> int:
    """That make the recipe's epochs of these rows."""
    changes = [override.lstrip("+") for override in overrides]
    deciding = [change for change in changes if change.partition("=")[0] in DECIDING]
    recipes = [OmegaConf.load(EXAMPLES / recipe) for recipe in (SHARED, RECIPE)]
    defaults = OmegaConf.create({"optimization": {"update_freq": [1]}})
    settings = OmegaConf.merge(defaults, *recipes, OmegaConf.from_dotlist(deciding))
    batch_size, frequencies = settings.dataset.batch_size, settings.optimization.update_freq
    numbers = [
        batch_size,
        settings.optimization.max_epoch,
        *(frequencies if OmegaConf.is_list(frequencies) else [None]),
    ]
    if not all(type(number) is int and number > 0 for number in numbers):
        raise UserError(f"--override {', '.join(deciding)}: expected whole numbers of at least 1")
    batches = math.ceil(rows / batch_size)
    epochs = range(settings.optimization.max_epoch)  # fairseq's last frequency is that of all later ones too
    return sum(math.ceil(batches / frequencies[min(epoch, len(frequencies) - 1)]) for epoch in epochs)
