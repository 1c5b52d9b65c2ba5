"""What may be added to the published objective, to see what it costs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

TOP_K = 64


@dataclass(frozen=True)
class Addition:
    """How a step differs from the published one."""

    criterion: Mapping[str, Any] = field(default_factory=dict)
    """settings of the criterion"""
    task: Mapping[str, Any] = field(default_factory=dict)
    """settings of the task"""
    has_cache: bool = False
    """whether soft targets are computed once, in the first step"""
    teachers: int = 1
    student_part: Fraction = Fraction(1)
    """of the teacher's heads and width"""
    least_heads: int = 1
    least_vocab: int = 1


MASKED = {"soft_target_positions": "masked"}
MASKED_ALONE = MASKED | {"cosine_weight": 0.0}
MORE_MASKS = {"mask_prob_schedule": "constant:0.3"}

ADDED = {
    "none": Addition(),
    "top-k": Addition({"soft_target_top_k": TOP_K}, least_vocab=TOP_K),
    "masked": Addition(MASKED),
    "masked-alone": Addition(MASKED_ALONE),
    "stored-top-k": Addition(
        MASKED_ALONE | {"soft_target_top_k": TOP_K}, {"repeat_masks_after": 1}, has_cache=True, least_vocab=TOP_K + 1
    ),
    "more-masks": Addition(task=MORE_MASKS),
    "second-teacher": Addition(teachers=2),
    "hidden": Addition({"hidden_weight": 1.0}),
    "hidden-cosine": Addition({"hidden_weight": 1.0, "hidden_distance": "cosine"}),
    "relations": Addition({"relation_weight": 1.0}),
    "relations-uniform": Addition({"relation_weight": 1.0, "relation_layer_pairs": "uniform"}),
    "narrower": Addition(student_part=Fraction(2, 3), least_heads=2),
    "recommended": Addition(MASKED, MORE_MASKS),
    "for-fine-tuning": Addition({"soft_target_weight": 0.0, "mlm_weight": 0.0, "relation_weight": 1.0}),
}
"""By the names that ``--added`` takes."""
