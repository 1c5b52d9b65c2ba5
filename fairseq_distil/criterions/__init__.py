"""Registered criterions."""

from .distillation import DistillationConfig, DistillationCriterion
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
]
