"""Registered tasks."""

from .distil_masked_lm import DistilMaskedLMConfig, DistilMaskedLMTask

__all__ = ["DistilMaskedLMConfig", "DistilMaskedLMTask"]
