"""The line of an epoch's means, which fairseq writes after the checkpoint, where a kill between them would lose it."""

from types import ModuleType
from typing import Any

from fairseq.distributed.utils import is_master
from fairseq.logging import metrics, progress_bar
from fairseq.trainer import Trainer

from fairseq_distil.checkpoints.training_state import MEANS

TAG = "train"


def with_means(position: dict[str, Any]) -> dict[str, Any]:
    """A position in the data for the checkpoint that ends an epoch or the run, with what the line is about to tell."""
    means = metrics.get_smoothed_values(TAG)
    return {**position, MEANS: {name: float(value) for name, value in means.items() if value is not None}}


def tell_means(command: ModuleType, trainer: Trainer, position: dict[str, Any]) -> None:
    """Write the line of the epoch that a checkpoint ends, once more if no kill came.

    Args:
        command: the module ``fairseq_cli.train``
        trainer: of a run that goes on from the checkpoint
        position: the checkpoint's position in the data
    """
    if MEANS not in position:
        return
    common = trainer.cfg.common
    progress = progress_bar.progress_bar(
        [],
        log_format=common.log_format,
        log_file=common.log_file,
        epoch=position["epoch"] - (position["iterations_in_epoch"] == 0),
        tensorboard_logdir=common.tensorboard_logdir if is_master(trainer.cfg.distributed_training) else None,
        default_log_format="simple" if common.no_progress_bar else "tqdm",
    )
    stats = command.get_training_stats(dict(position[MEANS]))
    progress.print(stats, tag=TAG, step=trainer.get_num_updates())
