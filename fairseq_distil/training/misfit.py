"""What a user is told of a checkpoint that does not fit the run which is to go on from it."""

import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

from fairseq_distil.errors import UserError

OTHER_PART = re.compile(r"(Criterion|Optimizer) does not match.*?\(--reset-optimizer\)\. (.*) vs (\S+)$", re.DOTALL)
OTHER_DATA = "dataloader mismatch"
"""In fairseq's messages: another criterion or optimiser, and a position that the data do not have."""
OTHER_WEIGHTS = "in loading state_dict"
"""In torch's own message, where fairseq has none: of averages of weights that do not fit."""
OTHER_MODEL = "Cannot load model parameters"
"""In that of weights that do not fit; how they differ is told by the error before it."""
MISSING = {
    "best": "is of a run with another --lr-scheduler; go on with that, or give --reset-lr-scheduler "
    "(checkpoint.reset_lr_scheduler)",
    "model": "has no averages of the weights; go on without --store-ema (ema.store_ema), or start from nothing in "
    "another --save-dir (checkpoint.save_dir)",
    "train_iterator": "has no position in the data to go on from, as released encoders have none; give it to "
    "--pretrained (model.pretrained) instead",
}
"""What fairseq does not find."""

MOST_CHARACTERS = 200
"""Of the first difference, which may be a list of all names."""


@contextmanager
def misfits_in_one_line(name: str) -> Iterator[None]:
    """fairseq notices these, and ends with a traceback."""
    try:
        yield
    except Exception as error:
        misfit = _misfit(error)
        if misfit is None:
            raise
        raise UserError(f"{name}: {misfit}") from error


def _misfit(error: Exception) -> str | None:
    """What a user is told of a checkpoint that does not fit the run; None of any other error."""
    message = str(error)
    if isinstance(error, KeyError):
        return MISSING.get(message.strip("'"))
    if OTHER_MODEL in message and isinstance(error.__context__, UserError):
        return str(error.__context__)
    if OTHER_MODEL in message:
        return (
            f"{message.partition(';')[0]}: {_first_difference(error.__context__)}; go on with the settings of its run, "
            "or start from nothing in another --save-dir (checkpoint.save_dir)"
        )
    torchs = error.__cause__ if isinstance(error, UserError) else error
    if isinstance(torchs, RuntimeError) and OTHER_WEIGHTS in str(torchs):
        return f"its averages of the weights are not those of this model: {_first_difference(torchs)}"
    if (other := OTHER_PART.match(message)) is not None:
        part, stored, own = other.groups()
        return (
            f"is of a run with the {part.lower()} {stored or 'of no name'}, but this one has {own}; go on with that, "
            "or give --reset-optimizer (checkpoint.reset_optimizer)"
        )
    return message if OTHER_DATA in message else None


def _first_difference(error: BaseException | None) -> str:
    """Of those that torch tells a line each, after a first line; or the part that the checkpoint lacks."""
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]}"
    lines = str(error).splitlines()
    return textwrap.shorten(lines[min(1, len(lines) - 1)], MOST_CHARACTERS)
