"""The criterion's own weights, where fairseq's commands build a criterion beside a checkpoint's model."""

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from fairseq import checkpoint_utils
from fairseq.criterions import FairseqCriterion
from fairseq.file_io import PathManager
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig
from torch import Tensor

from fairseq_distil.errors import UserError, naming

_fairseqs_load = checkpoint_utils.load_model_ensemble_and_task


class StoredCriterion(NamedTuple):
    """What a checkpoint holds of its criterion."""

    path: str
    weights: Optional[Dict[str, Tensor]]
    """state dict; None of a criterion that had no weights"""

    def restore(self, criterion: FairseqCriterion, like: Tensor) -> None:
        """Load the weights into a criterion, and move it to the device and type of ``like``, which fairseq does not.

        Raises:
            UserError: they do not fit
        """
        with naming(self.path):
            try:
                criterion.load_state_dict(self.weights)
            except RuntimeError as error:
                raise UserError(f"its criterion's weights do not fit: {' '.join(str(error).split())}") from error
        criterion.to(like)


def let_tasks_know_stored_criterions() -> None:
    """Replace the function by which ``fairseq-validate`` loads: it builds a criterion, but loads the model alone."""
    checkpoint_utils.load_model_ensemble_and_task = load_model_ensemble_and_task


def load_model_ensemble_and_task(
    filenames: List[str],
    arg_overrides: Optional[Dict[str, Any]] = None,
    task: Optional[FairseqTask] = None,
    strict: bool = True,
    suffix: str = "",
    num_shards: int = 1,
    state: Optional[Dict[str, Any]] = None,
) -> Tuple[List[BaseFairseqModel], DictConfig, FairseqTask]:
    """What fairseq's function of this name gives; the task has the ``stored_criterion`` of a single checkpoint."""
    if len(filenames) == num_shards == 1 and state is None:
        path = checkpoint_utils.get_maybe_sharded_checkpoint_filename(filenames[0], suffix, 0, 1)
        if PathManager.exists(path):
            state = checkpoint_utils.load_checkpoint_to_cpu(path, arg_overrides)
    models, cfg, task = _fairseqs_load(filenames, arg_overrides, task, strict, suffix, num_shards, state)
    if state is not None:
        task.stored_criterion = StoredCriterion(filenames[0], state.get("criterion"))
    return models, cfg, task
