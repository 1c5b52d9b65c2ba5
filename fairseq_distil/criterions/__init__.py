"""Registered criterions."""

from .distillation import DistillationCriterion
from .distillation_config import DistillationConfig
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
