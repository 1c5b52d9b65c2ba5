"""What ``--patience`` has seen, in a task's checkpoints."""

import sys
from typing import Any, Dict

from fairseq_distil.checkpoints.training_state import is_count, is_number
from fairseq_distil.errors import UserError


class EarlyStoppingState:
    """Comes before a fairseq task among the bases of a class; fairseq itself counts anew after a start."""

    def get_checkpoint_dict(self) -> Dict[str, Dict[str, Any]]:
        """The best validation, and how many came since, for a checkpoint."""
        return {type(self).__name__: dict(_seen())}

    def set_checkpoint_dict(self, state: Dict[str, Any]) -> None:
        """Take over what a checkpoint says of it.

        Raises:
            UserError: it is something else
        """
        seen = isinstance(state, dict) and state.keys() <= {"best", "num_runs"}
        if not seen or not (is_number(state.get("best", 0)) and is_count(state.get("num_runs", 0))):
            raise UserError(
                "the checkpoint's account of early stopping is damaged: expected the best validation and a count"
            )
        _seen().update(state)


def _seen() -> Dict[str, Any]:
    # fairseq-train keeps it in attributes of this function.
    command = sys.modules.get("fairseq_cli.train")
    return {} if command is None else vars(command.should_stop_early)
