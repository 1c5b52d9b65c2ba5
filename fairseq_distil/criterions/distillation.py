"""DistilBERT's triple loss, registered as ``distillation``."""

import math
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

import torch
from fairseq import utils
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.logging import metrics
from fairseq.logging.meters import MetersDict
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from torch import Tensor

from fairseq_distil.errors import UserError
from fairseq_distil.losses import TermScales, TokenPositions, VocabularyLoss, cosine_distance, vocabulary_loss

from .settings import require_temperature, require_weight

WEIGHTS = ("soft_target_weight", "mlm_weight", "cosine_weight")


@dataclass
class DistillationConfig(FairseqDataclass):
    """Defaults are the published objective (Sanh et al., 2019)."""

    soft_target_weight: float = field(
        default=5.0, metadata={"help": "weight of T^2 KL(teacher || student) over the vocabulary, a mean over tokens"}
    )
    mlm_weight: float = field(
        default=2.0,
        metadata={
            "help": "weight of the masked-LM cross-entropy, a sum over masked tokens divided by mask_prob times all "
            "tokens: on average their mean"
        },
    )
    cosine_weight: float = field(
        default=1.0, metadata={"help": "weight of 1 - cos of the last hidden states, a mean over tokens"}
    )
    soft_target_temperature: float = field(
        default=2.0, metadata={"help": "temperature T that softens both distributions"}
    )
    soft_target_positions: ChoiceEnum(["all", "masked"]) = field(
        default="all", metadata={"help": "tokens of the soft-target term: all but padding, or the masked ones"}
    )


@register_criterion("distillation", dataclass=DistillationConfig)
class DistillationCriterion(FairseqCriterion):
    """``soft_target_weight * T^2 KL + mlm_weight * CE + cosine_weight * (1 - cos)``, each a mean over its own tokens.

    Gradients are divided by one ``sample_size``, summed over micro-batches and workers. It counts all tokens, and the
    sums over masked tokens are divided by ``mask_prob``, the rate at which masking selects them exactly on average:
    two micro-batches then add up to one of double size. Where every active term is over masked tokens,
    ``sample_size`` counts those, as in fairseq's ``masked_lm``.
    """

    def __init__(self, cfg: DistillationConfig, task: FairseqTask) -> None:
        super().__init__(task)
        _require_valid(cfg)
        self.cfg = cfg
        self.mask_prob = task.cfg.mask_prob
        self.soft_targets_everywhere = cfg.soft_target_weight > 0 and str(cfg.soft_target_positions) == "all"
        self.needs_teacher = cfg.soft_target_weight > 0 or cfg.cosine_weight > 0
        self.needs_masks = cfg.mlm_weight > 0 or (cfg.soft_target_weight > 0 and not self.soft_targets_everywhere)

    def require_suitable(self, model: BaseFairseqModel) -> None:
        """Check that a model and the task's masking have what the terms need.

        Raises:
            UserError: a term needs a teacher, a masked-LM head or masked tokens that there are none of, or hidden
                states of equal width, which differ
        """
        if self.needs_masks and self.mask_prob == 0:
            raise UserError(
                "criterion.mlm_weight and soft targets at masked positions need masks, but task.mask_prob is 0; raise "
                "it, or set these weights to 0"
            )
        if self.needs_teacher and getattr(model, "teacher", None) is None:
            raise UserError(
                "criterion.soft_target_weight and criterion.cosine_weight need a teacher, but the model has none; "
                "train a teacher_student with --teacher, or set both weights to 0"
            )
        for weight, encoder, role in (
            (self.cfg.mlm_weight, model, "the model"),
            (self.cfg.soft_target_weight, model, "the student"),
            (self.cfg.soft_target_weight, getattr(model, "teacher", None), "the teacher"),
        ):
            if weight > 0 and encoder.masked_lm_head is None:
                raise UserError(
                    f"criterion.mlm_weight and criterion.soft_target_weight need masked-LM heads, but {role} has none; "
                    "set both weights to 0, or train a head first: --arch distil_encoder --pretrained TEACHER "
                    "--fit-mlm-head"
                )
        if self.cfg.cosine_weight > 0 and model.config.width != model.teacher.config.width:
            raise UserError(
                f"criterion.cosine_weight needs hidden states of equal width, but the student's are "
                f"{model.config.width} wide and the teacher's {model.teacher.config.width}; make them equal, or set "
                "the weight to 0"
            )

    def forward(
        self, model: BaseFairseqModel, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, int, Dict[str, Any]]:
        """Compute the objective of a batch.

        Returns:
            the loss as a sum, the sample size that it is to be divided by, and sums and counts for the log

        Raises:
            UserError: see :meth:`require_suitable`
        """
        positions = self._positions(sample)
        masked, tokens = len(positions.masked), len(positions.masked) + len(positions.unmasked)
        over_all_tokens = self.soft_targets_everywhere or self.cfg.cosine_weight > 0
        rows = torch.cat(positions) if over_all_tokens else positions.masked
        student_rows = model(**sample["net_input"], features_only=True)[0].flatten(0, 1)[rows]
        teacher_rows = self._teacher_rows(model, sample["net_input"], rows)

        logging_output = {
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "sample_size": tokens if over_all_tokens else masked,
            "masked_tokens": masked,
        }
        loss = student_rows.new_zeros((), dtype=torch.float32)
        if self._needs_vocabulary(model):
            targets = sample["target"].flatten()[positions.masked]
            vocabulary = self._vocabulary_loss(model, student_rows, teacher_rows, targets, over_all_tokens)
            loss = loss + vocabulary.total
            logging_output["mlm_loss"] = vocabulary.mlm
            logging_output["mlm_correct"] = vocabulary.mlm_correct
        if self.cfg.soft_target_weight > 0:
            logging_output["soft_target_loss"] = vocabulary.soft_target
            logging_output["soft_target_tokens"] = tokens if self.soft_targets_everywhere else masked
            logging_output["teacher_agreement"] = vocabulary.teacher_agreement
        if self.cfg.cosine_weight > 0:
            cosine = cosine_distance(student_rows, teacher_rows)
            loss = loss + self.cfg.cosine_weight * cosine
            logging_output["cosine_loss"] = cosine.detach()
            logging_output["cosine_tokens"] = tokens
        logging_output["loss"] = loss.detach()
        return loss, logging_output["sample_size"], logging_output

    def _needs_vocabulary(self, model: BaseFairseqModel) -> bool:
        """Whether to project on the vocabulary: for a term, or to tell a validation's perplexity where none has it."""
        if self.cfg.soft_target_weight > 0 or self.cfg.mlm_weight > 0:
            return True
        return not model.training and model.masked_lm_head is not None

    def _positions(self, sample: Dict[str, Any]) -> TokenPositions:
        if "positions" in sample:
            return TokenPositions(**sample["positions"])
        return TokenPositions.of(sample["net_input"]["src_tokens"], sample["target"], self.padding_idx)

    def _teacher_rows(self, model: BaseFairseqModel, net_input: Dict[str, Any], rows: Tensor) -> Optional[Tensor]:
        if not self.needs_teacher:
            return None
        self.require_suitable(model)
        return model.teacher_hidden(net_input).flatten(0, 1)[rows]

    def _vocabulary_loss(
        self,
        model: BaseFairseqModel,
        student_rows: Tensor,
        teacher_rows: Optional[Tensor],
        targets: Tensor,
        over_all_tokens: bool,
    ) -> VocabularyLoss:
        needed = slice(None) if self.soft_targets_everywhere else slice(len(targets))
        teacher = None
        if self.cfg.soft_target_weight > 0:
            teacher = model.teacher_projection(teacher_rows[needed])
        masked_scale = 1 / self.mask_prob if over_all_tokens and self.needs_masks else 1.0
        scales = TermScales(
            temperature=self.cfg.soft_target_temperature,
            soft_target=self.cfg.soft_target_weight * (1.0 if self.soft_targets_everywhere else masked_scale),
            mlm=self.cfg.mlm_weight * masked_scale,
        )
        return vocabulary_loss(model.vocabulary_projection(student_rows[needed]), teacher, targets, scales)

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
        """Log the mean of each term over its own tokens, across micro-batches and workers.

        ``loss``, ``soft_target_loss`` and ``mlm_loss`` are in bits, as in fairseq, without the weights of the terms;
        ``cosine_loss`` is ``1 - cos``; ``mlm_accuracy`` and ``teacher_agreement`` are fractions of masked tokens.
        """
        totals = {key: sum(log[key] for log in logging_outputs) for key in logging_outputs[0]}

        def log_mean(name: str, total: str, count: str, unit: float = 1.0, digits: int = 3) -> None:
            if total in totals and totals[count] > 0:
                metrics.log_scalar(name, totals[total] / totals[count] / unit, totals[count], round=digits)

        bit = math.log(2)
        log_mean("loss", "loss", "sample_size", bit)
        log_mean("soft_target_loss", "soft_target_loss", "soft_target_tokens", bit)
        log_mean("mlm_loss", "mlm_loss", "masked_tokens", bit)
        log_mean("cosine_loss", "cosine_loss", "cosine_tokens", digits=4)
        log_mean("mlm_accuracy", "mlm_correct", "masked_tokens", digits=4)
        log_mean("teacher_agreement", "teacher_agreement", "masked_tokens", digits=4)
        if "mlm_loss" in totals:
            metrics.log_derived("mlm_ppl", _masked_lm_perplexity)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All values are sums, the same keys from every worker."""
        return True


def _masked_lm_perplexity(meters: MetersDict) -> float:
    return utils.get_perplexity(meters["mlm_loss"].avg) if "mlm_loss" in meters else math.nan


def _require_valid(cfg: DistillationConfig) -> None:
    weights = {name: getattr(cfg, name) for name in WEIGHTS}
    for name, weight in weights.items():
        require_weight(name, weight)
    if not any(weights.values()):
        raise UserError(f"all of {', '.join(WEIGHTS)} are 0, so that there is nothing to learn; raise at least one")
    require_temperature(cfg.soft_target_temperature)
