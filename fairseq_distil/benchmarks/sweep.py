"""One size of a step after the other, to see how its cost grows."""

from collections.abc import Sequence
from dataclasses import replace

from fairseq_distil.errors import UserError

from .training_case import TrainingCase

DEFAULT_VALUES = {
    "batch": (4, 8, 16, 32),
    "length": (64, 128, 256, 512),
    "vocab": (8000, 16000, 30522, 60000),
    "layers": (4, 8, 12),
}


def parse_sweep(text: str) -> tuple[str, tuple[int, ...]]:
    """Read ``NAME`` or ``NAME=VALUE,VALUE,...``.

    Raises:
        UserError: it is neither, the name is no size, or a value comes twice
    """
    name, separator, values = text.partition("=")
    if name not in DEFAULT_VALUES:
        raise UserError(f"--sweep {text}: choose from {', '.join(DEFAULT_VALUES)}, or give NAME=VALUE,VALUE")
    if not separator:
        return name, DEFAULT_VALUES[name]
    try:
        numbers = tuple(int(value) for value in values.split(","))
    except ValueError:
        raise UserError(f"--sweep {text}: expected whole numbers separated by commas after {name}=") from None
    if len(set(numbers)) < len(numbers):
        raise UserError(f"--sweep {text}: a value comes twice; give each once")
    return name, numbers


def sweep_cases(case: TrainingCase, name: str, values: Sequence[int]) -> list[TrainingCase]:
    """The case with one size changed, for each value."""
    return [replace(case, **{name: value}) for value in values]
