"""Why torch would not load a file, for the person at the keyboard."""

import errno
import os
import re

from fairseq_distil.errors import chain_of

NOT_A_CHECKPOINT = "not a checkpoint that can be loaded safely, or damaged"
CLONE = "save it again with a clone() of each tensor"
"""What to do about views, which may hold less than they claim, or more than they show."""
ADVICE = re.compile("weights_only|safe_globals")
NO_MEMORY = os.strerror(errno.ENOMEM)
"""In torch's errors too."""
OF_THE_FILE = {errno.EINVAL, errno.ENOENT, errno.EISDIR, None}
"""An offset that is damaged makes an argument invalid; or there is no file."""


def explain_load_error(error: Exception) -> str:
    """What is wrong with a checkpoint, in one line, from what its loading raised.

    torch's own text begins with advice to load the file unsafely, which is never given here.
    """
    reason = str(error).partition("WeightsUnpickler error:")[2] or str(error)
    refused = re.search(r"unsupported global:? (?:GLOBAL )?(\S+)", reason, re.IGNORECASE)
    if refused:
        return refused_object(refused[1])
    first_line = (reason.strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, LookupError | TypeError | AttributeError) or ADVICE.search(first_line):
        return NOT_A_CHECKPOINT  # what was raised tells of the reader, not of the file
    return f"{NOT_A_CHECKPOINT}: {first_line}"


def refused_object(name: str) -> str:
    """What is wrong with a checkpoint that has an object of a type, or by a function, of this name."""
    return (
        f"holds objects that safe loading refuses, the first of them {name}: loading them could run "
        "code from the file; export the weights again as a plain checkpoint of tensors, numbers and text"
    )


def fault_of_the_system(error: Exception) -> str | None:
    """What kept a file from being read, be there damage or not; None of an error that says something of the file."""
    for link in chain_of(error):
        if isinstance(link, MemoryError) or NO_MEMORY in str(link):
            return NO_MEMORY
        if isinstance(link, OSError) and link.errno not in OF_THE_FILE:
            return link.strerror
    return None
