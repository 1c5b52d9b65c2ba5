"""Registered tasks."""

from .distil_masked_lm import DistilMaskedLMTask
from .distil_masked_lm_config import DistilMaskedLMConfig

__all__ = ["DistilMaskedLMConfig", "DistilMaskedLMTask"]
