"""The terms of the objectives as pure tensor functions. Nothing in this room imports fairseq.

Every loss is a sum over rows (tokens, or windows with an answer); the criterion divides.
"""

from .answer_span import UNKNOWN_POSITION, answer_span_loss, answer_span_soft_target_loss
from .attention_relation import reference_relation_divergence, relation_divergence
from .cosine import cosine_distance
from .hidden_state_distance import mean_squared_distance
from .populations import TokenPositions
from .reference_vocabulary import reference_vocabulary_loss
from .soft_target import soft_target_loss
from .spoiled_gradient import spoil_gradient_unless_finite
from .squared_difference import squared_difference
from .vocabulary import VocabularyLoss, teacher_outcomes, vocabulary_loss
from .vocabulary_projection import VocabularyProjection
from .vocabulary_tile import TermScales
from .word_outcomes import WordOutcomes

__all__ = [
    "UNKNOWN_POSITION",
    "TermScales",
    "TokenPositions",
    "VocabularyLoss",
    "VocabularyProjection",
    "WordOutcomes",
    "answer_span_loss",
    "answer_span_soft_target_loss",
    "cosine_distance",
    "mean_squared_distance",
    "reference_relation_divergence",
    "reference_vocabulary_loss",
    "relation_divergence",
    "soft_target_loss",
    "spoil_gradient_unless_finite",
    "squared_difference",
    "teacher_outcomes",
    "vocabulary_loss",
]
