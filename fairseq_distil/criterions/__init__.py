"""Registered criterions."""

from .distillation import DistillationConfig, DistillationCriterion

__all__ = ["DistillationConfig", "DistillationCriterion"]
