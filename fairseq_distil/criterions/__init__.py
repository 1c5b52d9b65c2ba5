"""Registered criterions."""

from .distillation import DistillationConfig, DistillationCriterion
from .question_answering import QuestionAnsweringCriterion, QuestionAnsweringCriterionConfig

__all__ = [
    "DistillationConfig",
    "DistillationCriterion",
    "QuestionAnsweringCriterion",
    "QuestionAnsweringCriterionConfig",
]
