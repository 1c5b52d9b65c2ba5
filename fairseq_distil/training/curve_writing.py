"""Curves in TensorBoard, without which a training goes on where their disk fails."""

import logging
import threading
from typing import Any

from fairseq.logging import progress_bar

logger = logging.getLogger(__name__)

_log_to_tensorboard = progress_bar.TensorboardProgressBarWrapper._log_to_tensorboard
_folders_given_up: set[str] = set()


def let_training_outlive_its_curves() -> None:
    """Replace the method by which fairseq writes to TensorBoard."""
    progress_bar.TensorboardProgressBarWrapper._log_to_tensorboard = log_or_give_up


def log_or_give_up(bar: Any, stats: dict[str, Any], tag: str | None = None, step: int | None = None) -> None:
    """Write values as fairseq does; after a first failure to do so, nothing more in this run.

    Raises:
        OSError: the folder cannot be made, or no file in it
    """
    if bar.tensorboard_logdir in _folders_given_up:
        return
    bar._writer(tag or "")
    previous_hook = threading.excepthook
    threading.excepthook = _leave_to_main_thread
    try:
        _log_to_tensorboard(bar, stats, tag, step)
    except OSError as error:
        _folders_given_up.add(bar.tensorboard_logdir)
        progress_bar._tensorboard_writers.clear()  # for they would fail once more when the process ends
        logger.warning(
            "%s: no further curves in this run, for they cannot be written: %s", bar.tensorboard_logdir, error.strerror
        )
    finally:
        threading.excepthook = previous_hook


def _leave_to_main_thread(failure: threading.ExceptHookArgs) -> None:
    """A writer's own thread keeps its error for the main one, where it is told in a line."""
    if not issubclass(failure.exc_type, OSError):
        threading.__excepthook__(failure)
