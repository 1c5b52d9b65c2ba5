"""The soft-target term: the teacher's distribution over the vocabulary."""

import math
from dataclasses import dataclass, field
from typing import List, Optional, Set

from fairseq.models import BaseFairseqModel

from fairseq_distil.criterions.settings import require_temperature
from fairseq_distil.errors import UserError

from .term import Positions, Scalar, VocabularyTerm, register_term


@dataclass
class SoftTargetOptions:
    soft_target_weight: float = field(
        default=5.0, metadata={"help": "weight of T^2 KL(teacher || student) over the vocabulary, a mean over tokens"}
    )
    soft_target_temperature: float = field(
        default=2.0, metadata={"help": "temperature T that softens both distributions"}
    )
    soft_target_positions: Positions = field(
        default="all", metadata={"help": "tokens of the soft-target term: all but padding, or the masked ones"}
    )
    soft_target_top_k: Optional[int] = field(
        default=None,
        metadata={
            "help": "K: compare the teacher's K most likely words, and all others as one outcome (default: all words)"
        },
    )


@register_term
class SoftTargetTerm(VocabularyTerm):
    """``T^2 KL(teacher || student)`` (L_ce of Sanh et al., 2019)."""

    options = SoftTargetOptions
    weight_name = "soft_target_weight"
    positions_name = "soft_target_positions"

    def __init__(self, cfg: SoftTargetOptions) -> None:
        super().__init__(cfg)
        require_temperature(cfg.soft_target_temperature)
        if cfg.soft_target_top_k is not None and cfg.soft_target_top_k < 1:
            raise UserError(f"criterion.soft_target_top_k is {cfg.soft_target_top_k}, but must be at least 1")

    def teacher_layers(self, model: BaseFairseqModel) -> Set[int]:
        return super().teacher_layers(model) if model.soft_target_cache is None else set()

    def require_suitable(self, model: BaseFairseqModel) -> None:
        if model.soft_target_cache is not None:
            self._require_what_is_stored(model.config.vocabulary_size)
        words, top_k = model.config.vocabulary_size, self.cfg.soft_target_top_k
        if top_k is not None and top_k > words:
            raise UserError(
                f"criterion.soft_target_top_k is {top_k}, more than the {words:,} words of the vocabulary; lower it, "
                "or leave it out for all words"
            )

    def _require_what_is_stored(self, words: int) -> None:
        stored = "--teacher-cache (model.teacher_cache) keeps soft targets of the likeliest words of masked tokens"
        if self.cfg.soft_target_top_k is None:
            raise UserError(f"{stored}; say of how many words, with --soft-target-top-k (criterion.soft_target_top_k)")
        if self.cfg.soft_target_top_k == words:
            raise UserError(f"{stored}, but criterion.soft_target_top_k is the whole vocabulary of {words:,}; lower it")
        if self.is_over_all_tokens:
            raise UserError(f"{stored}; add --soft-target-positions masked (criterion.soft_target_positions)")

    @classmethod
    def scalars(cls) -> List[Scalar]:
        return [
            Scalar("soft_target_loss", "soft_target_loss", "soft_target_tokens", unit=math.log(2)),
            Scalar("teacher_agreement", "teacher_agreement", "masked_tokens", digits=4),
        ]
