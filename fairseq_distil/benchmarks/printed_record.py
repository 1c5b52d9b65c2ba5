"""Records on standard output."""

import json
from collections.abc import Mapping
from typing import Any

from fairseq_distil.errors import UserError


def print_record(record: Mapping[str, Any]) -> None:
    """Print a record as one line of JSON, which knows no infinity.

    Raises:
        UserError: one of its numbers is not finite
    """
    try:
        line = json.dumps(record, allow_nan=False)
    except ValueError as error:
        raise UserError(
            f"a number that was measured, or a ratio of two, is not finite, so that nothing can be said: {record}; "
            "give larger sizes or more steps"
        ) from error
    print(line, flush=True)
