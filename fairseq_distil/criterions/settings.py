"""Checks of the settings that criterions have in common."""

import math

from fairseq_distil.errors import UserError

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.01, 100


def require_weight(name: str, weight: float) -> None:
    """Raise a UserError if the weight of a term is no weight."""
    if not 0 <= weight < math.inf:
        raise UserError(f"criterion.{name} is {weight}, but a weight must be finite and not negative")


def require_temperature(temperature: float) -> None:
    """Raise a UserError if soft targets are not softened by it, or so much that float32 tells no words apart."""
    if not LOWEST_TEMPERATURE <= temperature <= HIGHEST_TEMPERATURE:
        raise UserError(
            f"criterion.soft_target_temperature is {temperature}, but must be from {LOWEST_TEMPERATURE} to "
            f"{HIGHEST_TEMPERATURE}"
        )
