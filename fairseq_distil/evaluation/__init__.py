"""Measuring trained encoders against each other."""

from .comparison import ModelReport, compare
from .masked_lm import MaskedLMResult, evaluate_masked_lm

__all__ = ["MaskedLMResult", "ModelReport", "compare", "evaluate_masked_lm"]
