"""What tells one file or directory from another."""

import hashlib
from functools import cache
from pathlib import Path


@cache
def digest(path: Path, pattern: str = "*") -> str:
    """SHA-256 of a file, or of the names and contents of a directory's files whose names match, at any depth."""
    files = sorted(file for file in path.rglob(pattern) if file.is_file()) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        total.update(str(file.relative_to(path)).encode())
        with open(file, "rb") as opened:
            total.update(hashlib.file_digest(opened, "sha256").digest())
    return total.hexdigest()
