"""fairseq's training loop, made to survive.

Three of its functions are replaced, for they ask no task, model or criterion at the moments that matter: when a
checkpoint is looked for, before an epoch, and between an update and what is due after it.
"""

import logging
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch.distributed as dist
from fairseq import checkpoint_utils
from fairseq.data.iterators import EpochBatchIterator
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask
from fairseq.trainer import Trainer
from omegaconf import DictConfig, OmegaConf

from fairseq_distil.checkpoints.fall_back import fall_back_if_damaged
from fairseq_distil.errors import UserError

from .stop_request import (
    EXIT_STOPPED,
    StopRequested,
    is_stop_noted,
    stop_if_requested,
    stop_requests,
    wait_for_all_workers,
)

logger = logging.getLogger(__name__)

LAST_CHECKPOINT = "checkpoint_last.pt"
ONLY_THE_LAST = {"no_epoch_checkpoints": True, "save_interval_updates": 0}
IS_UNFINISHED = "is_unfinished"
"""In a checkpoint's position in the data: what is due after its update, such as validation, is yet to be done."""

Outcome = tuple[list[float | None], bool]
"""Validation losses, None where there was no validation; and whether to stop training."""

_fairseqs_load_checkpoint = checkpoint_utils.load_checkpoint


@dataclass
class Position:
    """A place in the data, for what would ask an iterator for it."""

    epoch: int
    is_end_of_epoch: bool
    state: dict[str, Any]

    @property
    def iterations_in_epoch(self) -> int:
        return self.state["iterations_in_epoch"]

    def end_of_epoch(self) -> bool:
        return self.is_end_of_epoch

    def state_dict(self) -> dict[str, Any]:
        return self.state


def make_training_survive() -> None:
    """Replace fairseq's ``load_checkpoint``, and with the first call of it two functions of ``fairseq-train``."""
    checkpoint_utils.load_checkpoint = load_checkpoint


def load_checkpoint(cfg: DictConfig, trainer: Trainer, **settings: Any) -> tuple[Any, EpochBatchIterator]:
    """What fairseq's function of this name does, from a whole checkpoint; its result.

    Raises:
        UserError: there are checkpoints, but none that is whole
    """
    if cfg.restore_file == LAST_CHECKPOINT and not cfg.no_last_checkpoints and not trainer.checkpoint_suffix:
        if trainer.data_parallel_rank == 0:
            fall_back_if_damaged(Path(cfg.save_dir, LAST_CHECKPOINT))
        if dist.is_initialized():
            dist.barrier()
    extra_state, iterator = _fairseqs_load_checkpoint(cfg, trainer, **settings)
    command = sys.modules.get("fairseq_cli.train")
    if command is not None:
        loop = SurvivingLoop.of(command)
        loop.unfinished = None
        if extra_state is not None and trainer.get_num_updates() > 0 and not cfg.reset_dataloader:
            loop.unfinished = _unfinished(extra_state["train_iterator"])
            if not cfg.reset_meters:
                _load_running_means(extra_state)
    return extra_state, iterator


def _unfinished(state: dict[str, Any]) -> Position | None:
    if not state.get(IS_UNFINISHED):
        return None
    is_end_of_epoch = state["iterations_in_epoch"] == 0
    return Position(state["epoch"] - is_end_of_epoch, is_end_of_epoch, state)


def _load_running_means(extra_state: dict[str, Any]) -> None:
    """Of the updates since the log was last written; fairseq forgets them where an epoch begins."""
    name = "train_inner"
    if name in extra_state.get("metrics", {}):
        metrics.load_state_dict({name: extra_state["metrics"][name]})


class SurvivingLoop:
    """``train`` and ``validate_and_save`` of ``fairseq_cli.train``, with what they lack around them."""

    def __init__(self, command: ModuleType) -> None:
        self._train, self._validate_and_save = command.train, command.validate_and_save
        self._boundary: tuple[EpochBatchIterator | Position, int] | None = None  # batches of an epoch, all in updates
        self._is_due = False
        self._is_stopping = False
        self.unfinished: Position | None = None
        command.train, command.validate_and_save = self.train, self.validate_and_save

    @classmethod
    def of(cls, command: ModuleType) -> "SurvivingLoop":
        """The loop that is in the place of the command's own."""
        current = getattr(command.train, "__self__", None)
        return current if isinstance(current, cls) else cls(command)

    def train(self, cfg: DictConfig, trainer: Trainer, task: FairseqTask, iterator: EpochBatchIterator) -> Outcome:
        """Train for an epoch, or what is left of it.

        Raises:
            SystemExit: SIGTERM came; a checkpoint has been written, from which the run goes on as if it had not
            UserError: a data worker was killed
        """
        with stop_requests():
            try:
                outcome = self._finish_update(cfg, trainer, task)
                self._boundary = None
                if not outcome[1] and not _is_finished(cfg, trainer):
                    outcome = self._train(cfg, trainer, task, iterator)
            except StopRequested:
                self._is_stopping = True
            except (RuntimeError, ConnectionError) as error:
                if not _is_death_of_data_worker(error):
                    raise
                self._save(cfg, trainer)
                if not is_stop_noted():
                    raise UserError(
                        "a data worker was killed, perhaps because memory ran out: use fewer --num-workers "
                        "(dataset.num_workers); started again, the run goes on from its last checkpoint"
                    ) from error
                sys.exit(EXIT_STOPPED)
            if self._is_stopping:
                wait_for_all_workers()
                sys.exit(EXIT_STOPPED)
            return outcome

    def _finish_update(self, cfg: DictConfig, trainer: Trainer, task: FairseqTask) -> Outcome:
        """Do what was due when the run was stopped."""
        position, self.unfinished = self.unfinished, None
        if position is None:
            return [None], _is_finished(cfg, trainer)
        subsets = cfg.dataset.valid_subset.split(",")
        losses, should_stop = self.validate_and_save(cfg, trainer, task, position, subsets, position.is_end_of_epoch)
        if position.is_end_of_epoch and not should_stop:
            trainer.lr_step(position.epoch, losses[0])
        return losses, should_stop

    def validate_and_save(
        self,
        cfg: DictConfig,
        trainer: Trainer,
        task: FairseqTask,
        iterator: EpochBatchIterator | Position,
        subsets: list[str],
        end_of_epoch: bool,
    ) -> Outcome:
        """Validate and save after an update, if that is due.

        Raises:
            StopRequested: instead, a checkpoint was written at once, which remembers what is due
        """
        _forget_finished_aggregators()
        self._boundary, self._is_due = (iterator, iterator.iterations_in_epoch), True
        try:
            stop_if_requested()
            outcome = self._validate_and_save(cfg, trainer, task, iterator, subsets, end_of_epoch)
        except StopRequested:
            self._save(cfg, trainer)
            if not end_of_epoch:
                raise
            self._is_stopping = True
            return [None], True  # so that fairseq logs the epoch's means, and comes back
        self._is_due = False
        return outcome

    def _save(self, cfg: DictConfig, trainer: Trainer) -> None:
        """Write ``checkpoint_last.pt`` alone, unless there are to be none or this epoch has made no update."""
        if self._boundary is None or cfg.checkpoint.no_last_checkpoints:
            return
        iterator, iterations = self._boundary
        if isinstance(iterator, EpochBatchIterator):
            iterator._cur_epoch_itr.n = iterations  # batches that were taken for an update that is not made come again
        state = {**iterator.state_dict(), IS_UNFINISHED: self._is_due}
        settings = OmegaConf.merge(cfg.checkpoint, ONLY_THE_LAST)
        position = Position(iterator.epoch, iterator.end_of_epoch(), state)
        checkpoint_utils.save_checkpoint(settings, trainer, position, None)


def _forget_finished_aggregators() -> None:
    """fairseq keeps the name of each update's aggregator of metrics for good: 135 bytes an update."""
    counts = metrics._active_aggregators_cnt
    for name in [name for name, count in counts.items() if count == 0]:
        del counts[name]


def _is_finished(cfg: DictConfig, trainer: Trainer) -> bool:
    updates, max_update = trainer.get_num_updates(), cfg.optimization.max_update or math.inf
    if updates >= max_update:
        logger.info("the run has made its %d updates of %d already", updates, max_update)
    return updates >= max_update


def _is_death_of_data_worker(error: Exception) -> bool:
    """Found while a batch was waited for, between two updates, or fetched from the worker's memory."""
    if isinstance(error, ConnectionError):
        return True
    return "DataLoader worker" in str(error) and "exited unexpectedly" in str(error)
