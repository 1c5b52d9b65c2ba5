"""A file that is whole or not there."""

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write text aside, then rename it; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
