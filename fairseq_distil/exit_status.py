"""How a command ends: what it writes is whole or not there, and mistakes are one line."""

import signal
import sys
from collections.abc import Callable
from types import FrameType

from fairseq_distil.errors import UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def exit_status(run: Callable[[], object], when_interrupted: str = "nothing was written") -> int:
    """Run a command; a mistake of the user is one line on stderr and exit status 2.

    Args:
        run: the command
        when_interrupted: what the user is told after Ctrl-C
    """
    handlers = {number: signal.signal(number, _exit_on_signal) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        run()
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print(f"interrupted; {when_interrupted}", file=sys.stderr)
        return EXIT_INTERRUPTED
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return 0


def _exit_on_signal(number: int, frame: FrameType | None) -> None:
    # As an exception, so that what is half-written is removed on the way out.
    sys.exit(128 + number)
