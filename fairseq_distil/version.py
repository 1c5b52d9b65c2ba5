"""What tells one version of this package from another."""

from functools import cache
from pathlib import Path

from .fingerprint import digest

__version__ = "0.1.0"


@cache
def source_version() -> str:
    """The version, and eight digits of the SHA-256 of the source files, such as 0.1.0+1a2b3c4d."""
    return f"{__version__}+{digest(Path(__file__).parent, '*.py')[:8]}"
