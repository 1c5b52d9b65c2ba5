"""Registered tasks."""

from .distil_masked_lm import DistilMaskedLMTask
from .distil_masked_lm_config import DistilMaskedLMConfig
from .question_answering import QuestionAnsweringConfig, QuestionAnsweringTask

__all__ = ["DistilMaskedLMConfig", "DistilMaskedLMTask", "QuestionAnsweringConfig", "QuestionAnsweringTask"]
