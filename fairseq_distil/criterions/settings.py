"""Checks of the settings that criterions have in common."""

import math

from fairseq_distil.errors import UserError


def require_weight(name: str, weight: float) -> None:
    """Raise a UserError if the weight of a term is no weight."""
    if not 0 <= weight < math.inf:
        raise UserError(f"criterion.{name} is {weight}, but a weight must be finite and not negative")


def require_temperature(temperature: float) -> None:
    """Raise a UserError if soft targets cannot be softened by it."""
    if not 0 < temperature < math.inf:
        raise UserError(f"criterion.soft_target_temperature is {temperature}, but must be positive and finite")
