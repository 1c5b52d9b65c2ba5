"""The one exception that is meant for the person at the keyboard, and how it is shown."""

import errno
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from hydra.errors import CompactHydraException

DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO} | {
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)
}
"""Full, read-only, not permitted, or no place for a file: the operating system names it."""
FULL = {errno.ENOSPC, errno.EDQUOT}
"""What writing to a file that is open, such as a log, fails with: the operating system does not name it."""
MOST_CHARACTERS = 1000
FROM_DATA_WORKER = re.compile(r"Caught UserError in DataLoader worker.*\n\S*UserError: ", re.DOTALL)
"""What torch puts before the message of an error from one of its processes: where, and a traceback."""


class UserError(ValueError, CompactHydraException):
    """A wrong setting or file. The message names it, says what was found, what was expected, and what to do.

    Hydra prints a ``CompactHydraException`` as its message alone; :func:`show_user_errors_in_one_line`
    does the same for fairseq's argparse commands.

    Messages quote files that may be hostile, so what is quoted can neither begin a line, nor command the terminal, nor
    fill it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(FROM_DATA_WORKER.sub("", message).rstrip("\n")))


def one_line(message: str) -> str:
    """A text that may be hostile as what can be printed in a line: without line ends, control characters and excess."""
    if len(message) > MOST_CHARACTERS:
        kept = MOST_CHARACTERS // 2
        message = f"{message[:kept]} [...] {message[-kept:]}"
    if message.isprintable():
        return message
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)


@contextmanager
def naming(subject: object) -> Iterator[None]:
    """Put the name of the file at fault before the message of a :class:`UserError` from within."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{subject}: {error}") from error


def show_user_errors_in_one_line() -> None:
    """Make the interpreter end on an uncaught :class:`UserError`, or one of a disk, with one line and no traceback."""
    if getattr(sys.excepthook, "shows_user_errors", False):
        return
    previous_hook = sys.excepthook

    def hook(error_type: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if user_error := _user_error_behind(error):
            print(f"error: {user_error}", file=sys.stderr)
        else:
            previous_hook(error_type, error, traceback)

    hook.shows_user_errors = True
    sys.excepthook = hook


def _user_error_behind(error: BaseException) -> BaseException | None:
    """The error itself, or the one that fairseq hid behind its own, as it does when a checkpoint does not load."""
    for link in chain_of(error):
        is_of_disk = isinstance(link, OSError) and link.errno in DISK_ERRORS and link.filename is not None
        if is_of_disk or isinstance(link, UserError):
            return link
        if isinstance(link, OSError) and link.errno in FULL:
            return UserError(f"{link.strerror}, where a log or another file is written; make room, and start again")
    return None


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those behind it, the last first, as far as Python would show them."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
