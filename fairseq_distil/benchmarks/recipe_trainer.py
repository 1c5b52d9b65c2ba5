"""What ``fairseq-hydra-train`` makes of a recipe, to time a few of its updates."""

import warnings
from pathlib import Path

from fairseq import tasks
from fairseq.dataclass.initialize import add_defaults, hydra_init
from fairseq.trainer import Trainer
from hydra import compose, initialize_config_dir


def recipe_trainer(folder: Path, recipe: str, *overrides: str) -> Trainer:
    """The trainer of a recipe, with the training data.

    Args:
        folder: absolute path of the recipes
        recipe: name of the file in it, without ``.yaml``
        overrides: settings to change, as on the command line
    """
    hydra_init(recipe)
    with warnings.catch_warnings(action="ignore"), initialize_config_dir(str(folder)):
        cfg = compose(recipe, list(overrides))
    add_defaults(cfg)
    task = tasks.setup_task(cfg.task)
    task.load_dataset("train")
    return Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
