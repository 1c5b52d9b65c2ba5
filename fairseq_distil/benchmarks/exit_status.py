"""How the benchmarks end as commands."""

import logging
import warnings
from collections.abc import Callable

from fairseq_distil.exit_status import exit_status


def quiet_exit_status(benchmark: Callable[[], None]) -> int:
    """Run a benchmark with fairseq's messages off; a mistake of the user is one line on stderr and exit status 2."""
    for name in ("", "fairseq", "fairseq_distil"):  # importing fairseq makes the root logger tell everything
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="'pin_memory' argument")  # fairseq sets it without a GPU too
    return exit_status(benchmark)
