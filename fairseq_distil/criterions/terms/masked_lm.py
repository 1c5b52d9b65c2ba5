"""The masked-LM term: the words that were there."""

import math
from dataclasses import dataclass, field
from typing import List

from .term import Scalar, VocabularyTerm, register_term


@dataclass
class MaskedLMOptions:
    mlm_weight: float = field(
        default=2.0,
        metadata={
            "help": "weight of the masked-LM cross-entropy, a sum over masked tokens divided by mask_prob times all "
            "tokens: on average their mean"
        },
    )


@register_term
class MaskedLMTerm(VocabularyTerm):
    """The cross-entropy of masked tokens (L_mlm of Sanh et al., 2019)."""

    options = MaskedLMOptions
    weight_name = "mlm_weight"
    needs_teacher = False
    is_over_all_tokens = False

    @classmethod
    def scalars(cls) -> List[Scalar]:
        return [
            Scalar("mlm_loss", "mlm_loss", "masked_tokens", unit=math.log(2)),
            Scalar("mlm_accuracy", "mlm_correct", "masked_tokens", digits=4),
        ]
