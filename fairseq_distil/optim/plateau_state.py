"""What fairseq's ``reduce_lr_on_plateau`` leaves out of checkpoints: how many validations in turn were no better."""

from typing import Any, Dict

from fairseq.optim.lr_scheduler.reduce_lr_on_plateau import ReduceLROnPlateauLRSchedule

from fairseq_distil.checkpoints.training_state import is_count
from fairseq_distil.errors import UserError

BAD_EPOCHS = "num_bad_epochs"

_state_dict = ReduceLROnPlateauLRSchedule.state_dict
_load_state_dict = ReduceLROnPlateauLRSchedule.load_state_dict


def make_plateaus_survive() -> None:
    """Replace the two methods by which the schedule gets into checkpoints and back."""
    ReduceLROnPlateauLRSchedule.state_dict = state_dict
    ReduceLROnPlateauLRSchedule.load_state_dict = load_state_dict


def state_dict(schedule: ReduceLROnPlateauLRSchedule) -> Dict[str, Any]:
    """What fairseq stores of it, and the count."""
    return {**_state_dict(schedule), BAD_EPOCHS: schedule.lr_scheduler.num_bad_epochs}


def load_state_dict(schedule: ReduceLROnPlateauLRSchedule, state: Dict[str, Any]) -> None:
    """Take over what a checkpoint says of it; one without the count is fairseq's own.

    Raises:
        UserError: the count is none
    """
    bad_epochs = state.get(BAD_EPOCHS, 0)
    if not is_count(bad_epochs):
        raise UserError(f"not a fairseq checkpoint, or damaged: its {BAD_EPOCHS} is not a whole number from 0")
    _load_state_dict(schedule, state)
    schedule.lr_scheduler.num_bad_epochs = bad_epochs
