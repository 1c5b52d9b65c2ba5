"""Sizes that a command line gives."""

from fairseq_distil.errors import UserError
from fairseq_distil.modules.encoder_config import LARGEST_SIZE


def require_size(option: str, size: int, least: int) -> None:
    """Raise a UserError if the size of ``--option`` is less than ``least``, or beyond all reason."""
    if size < least:
        raise UserError(f"--{option} is {size}, but must be at least {least}")
    if size > LARGEST_SIZE:
        raise UserError(f"--{option} is {size}, but must be at most {LARGEST_SIZE}")
