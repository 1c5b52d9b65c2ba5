"""Where a run begins or goes on, in place of fairseq's function for it."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

from fairseq import checkpoint_utils
from fairseq.data.iterators import EpochBatchIterator
from fairseq.file_io import PathManager
from fairseq.logging import metrics
from fairseq.trainer import Trainer
from omegaconf import DictConfig

from fairseq_distil.checkpoints.atomic_saving import remove_unfinished
from fairseq_distil.checkpoints.fall_back import fall_back_if_damaged
from fairseq_distil.checkpoints.training_state import IS_UNFINISHED
from fairseq_distil.data.dictionary_check import require_same_symbols
from fairseq_distil.errors import UserError, naming
from fairseq_distil.optim.half_precision import fit_half_precision
from fairseq_distil.tasks.numerical_guard import guard
from fairseq_distil.workers import act_first

from .epoch_means import tell_means
from .misfit import misfits_in_one_line
from .surviving_loop import Position, SurvivingLoop

LAST_CHECKPOINT = "checkpoint_last.pt"

_fairseqs_load_checkpoint = checkpoint_utils.load_checkpoint


def make_training_survive() -> None:
    """Replace fairseq's ``load_checkpoint``, and with the first call of it two functions of ``fairseq-train``."""
    checkpoint_utils.load_checkpoint = load_checkpoint


def load_checkpoint(cfg: DictConfig, trainer: Trainer, **settings: Any) -> tuple[Any, EpochBatchIterator]:
    """What fairseq's function of this name does, from a whole checkpoint; its result.

    What a run that was killed has left half-written in the folder is removed, and updates are guarded.

    Then what was due when the run was stopped is done: not with the next epoch, for there may be none.

    Raises:
        UserError: there are checkpoints, but none that is whole; or the one at hand is of a run with other settings;
            or this run's settings need a GPU that is not used, or an optimiser that does with half precision alone,
            or torch's search for unused parameters, which the objective misleads
        SystemExit: SIGTERM came meanwhile, see :meth:`SurvivingLoop.train`
    """
    _require_possible(trainer)
    fit_half_precision(trainer.cfg)
    guard(trainer.task)
    act_first(trainer.data_parallel_rank == 0, partial(_prepare_folder, cfg, trainer))
    _begin_with_averages_of_another_run(trainer)
    with misfits_in_one_line(cfg.restore_file):
        extra_state, iterator = _fairseqs_load_checkpoint(cfg, trainer, **settings)
    if extra_state is not None and trainer.get_num_updates() > 0 and not cfg.reset_lr_scheduler:
        _tell_schedule(trainer, extra_state)
    command = sys.modules.get("fairseq_cli.train")
    if command is not None:
        unfinished = None
        if extra_state is not None and trainer.get_num_updates() > 0 and not cfg.reset_dataloader:
            unfinished = Position.unfinished(extra_state["train_iterator"])
            tell_means(command, trainer, extra_state["train_iterator"])
            if not cfg.reset_meters:
                _load_running_means(extra_state)
        SurvivingLoop.of(command).begin(trainer, unfinished)
    return extra_state, iterator


def _require_possible(trainer: Trainer) -> None:
    cfg = trainer.cfg
    if cfg.common.fp16 and not trainer.cuda:
        raise UserError(
            "--fp16 (common.fp16) needs a GPU, and none is used; leave it out, or give --autocast-dtype bfloat16 "
            "(task.autocast_dtype)"
        )
    if cfg.distributed_training.find_unused_parameters and cfg.criterion._name == "distillation":
        raise UserError(
            "--find-unused-parameters (distributed_training.find_unused_parameters) takes the masked-LM head for "
            "unused, which the criterion distillation applies in chunks of its own; leave it out: what no term reads "
            "is frozen"
        )


def _prepare_folder(cfg: DictConfig, trainer: Trainer) -> None:
    """What the first worker does for all, among which it finds out whether there is something to refuse."""
    suffix = trainer.checkpoint_suffix
    if not cfg.no_save:
        remove_unfinished(Path(cfg.save_dir))
    path = Path(cfg.restore_file)
    if cfg.restore_file == LAST_CHECKPOINT:
        path = Path(cfg.save_dir, LAST_CHECKPOINT)
        if not cfg.no_last_checkpoints and not suffix:
            fall_back_if_damaged(path, best_comes_first=cfg.no_epoch_checkpoints)
        if cfg.finetune_from_model and not path.exists():
            path = Path(cfg.finetune_from_model)
    elif not suffix and not PathManager.exists(cfg.restore_file):
        raise UserError(
            f"--restore-file {path} (checkpoint.restore_file): no such file; leave it out to go on from "
            f"{LAST_CHECKPOINT} of --save-dir, or from nothing"
        )
    if not suffix and path.is_file():
        state = checkpoint_utils.load_checkpoint_to_cpu(str(path))  # as fairseq will, while the others wait for it
        symbols = (state.get("task_state") or {}).get("dictionary_symbols")
        if symbols is not None:
            dictionary = trainer.task.source_dictionary
            require_same_symbols(f"checkpoint {path}", symbols, "the data's dict.txt", dictionary.symbols)


def _begin_with_averages_of_another_run(trainer: Trainer) -> None:
    """Read ``--ema-seed-model`` now, what does not fit included; fairseq reads it after the first update."""
    seed = trainer.cfg.ema.ema_seed_model
    if seed is not None:
        with naming("--ema-seed-model (ema.ema_seed_model)"), misfits_in_one_line(seed):
            trainer._build_ema()


def _tell_schedule(trainer: Trainer, extra_state: dict[str, Any]) -> None:
    """Tell the schedule of learning rates how the epoch has ended that the checkpoint ends, if it does.

    fairseq does so after the checkpoint; on loading it has told the schedule of the epoch that is yet to come.
    """
    position = extra_state["train_iterator"]
    if position.get("iterations_in_epoch") != 0:
        return
    ended = position["epoch"] - 1
    trainer.lr_step(ended)
    if not position.get(IS_UNFINISHED):
        trainer.lr_step(ended, extra_state.get("val_loss"))


def _load_running_means(extra_state: dict[str, Any]) -> None:
    """Of the updates since the log was last written; fairseq forgets them where an epoch begins."""
    name = "train_inner"
    if name in extra_state.get("metrics", {}):
        metrics.load_state_dict({name: extra_state["metrics"][name]})
