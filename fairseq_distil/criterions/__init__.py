"""Registered criterions."""

from .distillation import DistillationConfig, DistillationCriterion
from .question_answering import QuestionAnsweringCriterion, QuestionAnsweringCriterionConfig
from .sentence_prediction_distillation import (
    SentencePredictionDistillationConfig,
    SentencePredictionDistillationCriterion,
)
from .sentence_prediction_metrics import SentencePredictionMetricsCriterion

__all__ = [
    "DistillationConfig",
    "DistillationCriterion",
    "SentencePredictionDistillationConfig",
    "SentencePredictionDistillationCriterion",
    "SentencePredictionMetricsCriterion",
    "QuestionAnsweringCriterion",
    "QuestionAnsweringCriterionConfig",
]
