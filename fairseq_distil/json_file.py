"""Reading JSON that someone else wrote."""

import json
import re
from pathlib import Path
from typing import Any

from fairseq_distil.errors import UserError

HALF_OF_A_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")


def read_json(path: Path, advice: str) -> Any:
    """The content of a JSON file, every string of which is text that can be encoded.

    Args:
        path: the file
        advice: what to do when it is missing or damaged

    Raises:
        UserError: it is missing, a directory, or not valid JSON
    """
    try:
        content = path.read_bytes()
        value = json.loads(content.decode("utf-8-sig"))
        if HALF_OF_A_PAIR.search(content):
            json.dumps(value, ensure_ascii=False).encode()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {advice}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: a directory; {advice}") from None
    except RecursionError:
        raise UserError(f"{path}: not valid JSON (nested too deeply); {advice}") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); {advice}") from None
    return value


def read_json_object(path: Path, advice: str) -> dict[str, Any]:
    """The content of a file that holds one JSON object; see :func:`read_json`.

    Raises:
        UserError: it is missing, or not a JSON object
    """
    content = read_json(path, advice)
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object; {advice}")
    return content
