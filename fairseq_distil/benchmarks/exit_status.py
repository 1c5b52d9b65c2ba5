"""How the benchmarks end as commands."""

import logging
import warnings
from collections.abc import Callable
from functools import partial

import torch

from fairseq_distil.errors import UserError
from fairseq_distil.exit_status import exit_status


def quiet_exit_status(benchmark: Callable[[], None]) -> int:
    """Run a benchmark with fairseq's messages off; a mistake of the user is one line on stderr and exit status 2."""
    for name in ("", "fairseq", "fairseq_distil"):  # importing fairseq makes the root logger tell everything
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="'pin_memory' argument")  # fairseq sets it without a GPU too
    return exit_status(partial(_run, benchmark))


def _run(benchmark: Callable[[], None]) -> None:
    try:
        benchmark()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"out of memory, give smaller sizes: {(str(error) or 'no details').splitlines()[0]}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether that is what Python, numpy, or torch on a GPU or on the CPU means."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
