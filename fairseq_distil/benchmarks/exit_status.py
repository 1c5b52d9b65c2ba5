"""How the benchmarks end as commands."""

import logging
import sys
import warnings
from collections.abc import Callable

from fairseq_distil.errors import UserError

EXIT_USER_ERROR = 2


def exit_status(benchmark: Callable[[], None]) -> int:
    """Run a benchmark with fairseq's messages off; a mistake of the user is one line on stderr and exit status 2."""
    for name in ("", "fairseq", "fairseq_distil"):  # importing fairseq makes the root logger tell everything
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="'pin_memory' argument")  # fairseq sets it without a GPU too
    try:
        benchmark()
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    return 0
