"""Distillation of one task into a fine-tuned student, registered as ``sentence_prediction_distillation``."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Tuple

from fairseq.criterions import register_criterion
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig
from torch import Tensor

from fairseq_distil.errors import UserError
from fairseq_distil.losses import soft_target_loss, squared_difference

from .sentence_prediction_metrics import (
    SentencePredictionMetricsConfig,
    SentencePredictionMetricsCriterion,
    log_mean,
    unit_of_loss,
)
from .settings import require_temperature, require_weight


@dataclass
class SentencePredictionDistillationConfig(SentencePredictionMetricsConfig):
    """What ``sentence_prediction_metrics`` has, and the weight of the teacher."""

    teacher_weight: float = field(
        default=1.0,
        metadata={"help": "weight of T^2 KL(teacher || student) over the classes, or of (student - teacher)^2"},
    )
    soft_target_temperature: float = field(
        default=2.0, metadata={"help": "temperature T that softens the distributions over the classes"}
    )


@register_criterion("sentence_prediction_distillation", dataclass=SentencePredictionDistillationConfig)
class SentencePredictionDistillationCriterion(SentencePredictionMetricsCriterion):
    """``task loss + teacher_weight * T^2 KL(teacher || student)``, or ``+ teacher_weight * (student - teacher)^2``.

    The second stage of Sanh et al. (2019), section 4.1: a student that is fine-tuned with a teacher that was fine-tuned
    on the same task. The model is a ``teacher_student``. Metrics are those of ``sentence_prediction_metrics``.
    """

    def __init__(self, cfg: SentencePredictionDistillationConfig, task: FairseqTask) -> None:
        super().__init__(cfg, task)
        _require_valid(cfg)
        self.teacher_weight = cfg.teacher_weight
        self.temperature = cfg.soft_target_temperature

    def forward(
        self, model: BaseFairseqModel, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, int, Dict[str, Any]]:
        """Compute the objective of a batch; see :meth:`SentencePredictionMetricsCriterion.forward`.

        In evaluation, a student that was loaded without its teacher has the task's loss alone.
        """
        has_teacher = self.training or getattr(model, "teacher", None) is not None
        if has_teacher:
            with self.autocast(sample):  # before the student runs: what comes from a cache waits for a GPU
                teacher_logits = model.task_teacher_logits(
                    sample, classification_head_name=self.classification_head_name
                )
        logits = self.logits(model, sample)
        targets = sample["target"].view(-1)
        loss = task_loss = self.task_loss(logits, targets)
        terms = {"task_loss": task_loss.detach()}
        if has_teacher:
            soft_target = self.soft_target_loss(logits, teacher_logits)
            loss = task_loss + self.teacher_weight * soft_target
            terms["soft_target_loss"] = soft_target.detach()
        return loss, len(targets), self.logging_output(model, sample, logits, targets, loss) | terms

    def soft_target_loss(self, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """How far the student's outputs ``(batch, outputs)`` are from the teacher's, as a sum over the batch."""
        if self.regression_target:
            return squared_difference(logits, teacher_logits)
        return soft_target_loss(logits, teacher_logits, self.temperature)

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
        """Log the terms as well, in the unit of ``loss`` and without the weight."""
        SentencePredictionMetricsCriterion.reduce_metrics(logging_outputs)
        for name in ("task_loss", "soft_target_loss"):
            if logging_outputs and name in logging_outputs[0]:
                log_mean(logging_outputs, name, unit_of_loss(logging_outputs))


def _require_valid(cfg: SentencePredictionDistillationConfig) -> None:
    require_weight("teacher_weight", cfg.teacher_weight)
    require_temperature(cfg.soft_target_temperature)
    # Of the whole run, where it is known, rather than in the first batch.
    run_cfg = cfg._get_parent() if isinstance(cfg, DictConfig) else None
    model_cfg = None if run_cfg is None else run_cfg.get("model")
    if model_cfg is not None and "teacher" not in model_cfg:
        raise UserError(
            "criterion sentence_prediction_distillation needs a teacher; train a teacher_student with --teacher "
            "(model.teacher): the checkpoint of a model that was fine-tuned on the same task"
        )
