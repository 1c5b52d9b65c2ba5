"""fairseq's training loop, made to survive.

Two of its functions are replaced, for they ask no task, model or criterion at the moments that matter: before an epoch,
and between an update and what is due after it.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from fairseq import checkpoint_utils
from fairseq.data.iterators import EpochBatchIterator
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask
from fairseq.trainer import Trainer
from omegaconf import DictConfig, OmegaConf

from fairseq_distil.checkpoints.training_state import IS_UNFINISHED
from fairseq_distil.errors import UserError

from .epoch_means import with_means
from .lost_processes import explain_loss, find_dead_data_workers_between_updates
from .stop_request import (
    StopRequested,
    await_no_more_stop_requests,
    await_stop_requests,
    exit_as_stopped,
    is_stop_noted,
    stop_if_requested,
    wait_for_all_workers,
)

logger = logging.getLogger(__name__)

ONLY_THE_LAST = {"no_epoch_checkpoints": True, "save_interval_updates": 0}

Outcome = tuple[list[float | None], bool]
"""Validation losses, None where there was no validation; and whether to stop training."""


@dataclass
class Position:
    """A place in the data, for what would ask an iterator for it."""

    epoch: int
    is_end_of_epoch: bool
    state: dict[str, Any]

    @classmethod
    def unfinished(cls, state: dict[str, Any]) -> "Position | None":
        """Where something is due, by a checkpoint's position in the data."""
        if not state.get(IS_UNFINISHED):
            return None
        is_end_of_epoch = state["iterations_in_epoch"] == 0
        done = {name: value for name, value in state.items() if name != IS_UNFINISHED}  # what it will be
        return cls(state["epoch"] - is_end_of_epoch, is_end_of_epoch, done)

    @property
    def iterations_in_epoch(self) -> int:
        return self.state["iterations_in_epoch"]

    def end_of_epoch(self) -> bool:
        return self.is_end_of_epoch

    def state_dict(self) -> dict[str, Any]:
        return self.state


class SurvivingLoop:
    """``train`` and ``validate_and_save`` of ``fairseq_cli.train``, with what they lack around them."""

    def __init__(self, command: ModuleType) -> None:
        self._train, self._validate_and_save = command.train, command.validate_and_save
        self._boundary: tuple[EpochBatchIterator | Position, int] | None = None  # batches of an epoch, all in updates
        self._is_due = False
        self._is_stopping = False
        self._is_over = False
        command.train, command.validate_and_save = self.train, self.validate_and_save

    @classmethod
    def of(cls, command: ModuleType) -> "SurvivingLoop":
        """The loop that is in the place of the command's own."""
        current = getattr(command.train, "__self__", None)
        return current if isinstance(current, cls) else cls(command)

    def begin(self, trainer: Trainer, unfinished: Position | None) -> None:
        """Begin a run, with what was due after its last update when it was stopped.

        Raises:
            SystemExit, UserError: as :meth:`train`
        """
        await_stop_requests()
        find_dead_data_workers_between_updates()
        self._boundary, self._is_over = None, False
        if unfinished is not None:
            with self._ending_in_order(trainer.cfg, trainer):
                self._is_over = self._finish_update(trainer.cfg, trainer, unfinished)

    def train(self, cfg: DictConfig, trainer: Trainer, task: FairseqTask, iterator: EpochBatchIterator) -> Outcome:
        """Train for an epoch, or what is left of it.

        Raises:
            SystemExit: SIGTERM came; a checkpoint has been written, from which the run goes on as if it had not
            UserError: a data worker or another worker was lost
        """
        outcome: Outcome = [None], True
        if not self._is_over and not _is_finished(cfg, trainer):
            with self._ending_in_order(cfg, trainer):
                outcome = self._train(cfg, trainer, task, iterator)
        if outcome[1] or iterator.next_epoch_idx > (cfg.optimization.max_epoch or math.inf):
            await_no_more_stop_requests()
        return outcome

    @contextmanager
    def _ending_in_order(self, cfg: DictConfig, trainer: Trainer) -> Iterator[None]:
        try:
            yield
        except StopRequested:
            self._save(cfg, trainer)
            self._is_stopping = True
        except Exception as error:
            explanation = explain_loss(error)
            if explanation is not None:
                self._save(cfg, trainer)
                if is_stop_noted():
                    exit_as_stopped()
            await_no_more_stop_requests()
            if explanation is not None:
                raise UserError(explanation) from error
            raise
        if self._is_stopping:
            wait_for_all_workers()
            exit_as_stopped()

    def _finish_update(self, cfg: DictConfig, trainer: Trainer, position: Position) -> bool:
        """Do what was due when the run was stopped; whether it is to train no more."""
        subsets = cfg.dataset.valid_subset.split(",")
        is_end = position.is_end_of_epoch
        losses, should_stop = self.validate_and_save(cfg, trainer, trainer.task, position, subsets, is_end)
        if is_end and not should_stop:
            trainer.lr_step(position.epoch, losses[0])
        return should_stop

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
            StopRequested: instead, within an epoch; the checkpoint that is then written remembers what is due
        """
        _forget_finished_aggregators()
        position = iterator
        if isinstance(iterator, EpochBatchIterator) and (end_of_epoch or _has_made_all_updates(cfg, trainer)):
            position = Position(iterator.epoch, iterator.end_of_epoch(), with_means(iterator.state_dict()))
        self._boundary, self._is_due = (position, position.iterations_in_epoch), True
        try:
            stop_if_requested()
            outcome = self._validate_and_save(cfg, trainer, task, position, subsets, end_of_epoch)
        except StopRequested:
            if not end_of_epoch:
                raise
            self._save(cfg, trainer)
            self._is_stopping = True
            return [None], True  # so that fairseq logs the epoch's means, and comes back
        self._is_due = False
        return outcome

    def _save(self, cfg: DictConfig, trainer: Trainer) -> None:
        """Write ``checkpoint_last.pt`` alone, unless there are to be none, or no update was made or due."""
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
    is_finished = _has_made_all_updates(cfg, trainer)
    if is_finished:
        updates, max_update = trainer.get_num_updates(), cfg.optimization.max_update
        logger.info("the run has made its %d updates of %d already", updates, max_update)
    return is_finished


def _has_made_all_updates(cfg: DictConfig, trainer: Trainer) -> bool:
    return trainer.get_num_updates() >= (cfg.optimization.max_update or math.inf)
