"""fairseq's ``sentence_prediction`` with exact metrics, registered as ``sentence_prediction_metrics``."""

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
import torch
import torch.distributed as dist
from fairseq.criterions import register_criterion
from fairseq.criterions.sentence_prediction import SentencePredictionConfig, SentencePredictionCriterion
from fairseq.dataclass import ChoiceEnum
from fairseq.logging import metrics
from fairseq.logging.meters import MetersDict, safe_round
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from torch import Tensor

from fairseq_distil.errors import UserError
from fairseq_distil.evaluation.sentence_metrics import (
    accuracy,
    f1,
    matthews_correlation,
    pearson_correlation,
    spearman_correlation,
)
from fairseq_distil.models.data_memory import class_names
from fairseq_distil.modules import autocast, keep_released_memory
from fairseq_distil.workers import gather_from_workers

DIGITS = 3  # of percentages: one right answer of 40,000 is seen
VALIDATED = "_validated"  # fairseq does not print what begins with an underscore
REPORTS = ("report_mcc", "report_acc_and_f1", "report_pearson_and_spearman")


@dataclass
class SentencePredictionMetricsConfig(SentencePredictionConfig):
    """What fairseq's ``sentence_prediction`` has, and the type of products, which its task has no option for."""

    autocast_dtype: ChoiceEnum(["none", "bfloat16"]) = field(
        default="none",
        metadata={
            "help": "type of matrix products; weights stay float32. bfloat16 is float32 on a CPU without its "
            "instructions"
        },
    )


@register_criterion("sentence_prediction_metrics", dataclass=SentencePredictionMetricsConfig)
class SentencePredictionMetricsCriterion(SentencePredictionCriterion):
    """The loss, options and metrics of fairseq's ``sentence_prediction``, and ``autocast_dtype``.

    What differs: metrics have three decimals instead of one, so that the best checkpoint is the best; classes may have
    any names; metrics are those of all workers together; and the loss of regression is logged as it is.
    """

    def __init__(self, cfg: SentencePredictionMetricsConfig, task: FairseqTask) -> None:
        super().__init__(cfg, task)
        _require_valid(cfg, task)
        self.autocasts = str(cfg.autocast_dtype) == "bfloat16"

    def forward(
        self, model: BaseFairseqModel, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, int, Dict[str, Any]]:
        """Compute the loss of a batch.

        Returns:
            the loss as a sum, the texts in the batch, and sums, and what was predicted in validation, for the log
        """
        logits = self.logits(model, sample)
        targets = sample["target"].view(-1)
        loss = self.task_loss(logits, targets)
        return loss, len(targets), self.logging_output(model, sample, logits, targets, loss)

    def logits(self, model: BaseFairseqModel, sample: Dict[str, Any]) -> Tensor:
        """What the head gives for a batch, ``(batch, outputs)``."""
        if sample["target"].device.type == "cpu":  # fairseq's task cannot do it
            keep_released_memory()
        with self.autocast(sample):
            return model(**sample["net_input"], classification_head_name=self.classification_head_name)[0]

    def autocast(self, sample: Dict[str, Any]) -> AbstractContextManager:
        """The type of products for the device of a batch; if none is asked for, what ``--amp`` has made it."""
        return autocast(sample["target"].device.type, torch.bfloat16) if self.autocasts else nullcontext()

    def task_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy, or squared error, with the labels ``(batch,)``, as a sum."""
        if self.regression_target:
            return (logits.view(-1).float() - targets.float()).square().sum()
        return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum")

    def logging_output(
        self, model: BaseFairseqModel, sample: Dict[str, Any], logits: Tensor, targets: Tensor, loss: Tensor
    ) -> Dict[str, Any]:
        """Sums over the batch; in validation also what was predicted and what was right, with a place for each row."""
        logged = {
            "loss": loss.detach(),
            "ntokens": sample["ntokens"],
            "nsentences": len(targets),
            "sample_size": len(targets),
        }
        predictions = logits.detach().float().view(-1) if self.regression_target else logits.argmax(-1)
        if not self.regression_target:
            logged["ncorrect"] = predictions.eq(targets).sum()
        if not model.training:
            logged["validated"] = _rows_of_all_workers(predictions, targets)
            logged.update({report: True for report in REPORTS if getattr(self, report)})
        return logged

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
        """Log means over texts, and percentages under fairseq's names.

        ``loss`` is in bits, or a squared error. From validation there may be ``mcc``; ``f1`` and ``acc_and_f1``; or
        ``pearson``, ``spearman`` and ``pearson_and_spearman``, of the whole split.
        """
        if not logging_outputs:
            return
        first = logging_outputs[0]
        log_mean(logging_outputs, "loss", unit_of_loss(logging_outputs))
        if "ncorrect" in first:
            log_mean(logging_outputs, "ncorrect", 1 / 100, "accuracy")
        if "validated" in first:
            rows = torch.cat([log["validated"] for log in logging_outputs]).cpu()
            metrics.log_concat_tensor(VALIDATED, rows[rows[:, 0] == 1, 1:], dim=0)
            for name, functions in reported_metrics(first).items():
                metrics.log_derived(name, partial(_mean_percentage, functions))

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All values are sums; each worker's rows of validation have a place of their own in the sum."""
        return True


Metric = Callable[[np.ndarray, np.ndarray], float]


def reported_metrics(logged: Dict[str, Any]) -> Dict[str, Tuple[Metric, ...]]:
    """What is logged under each name: the mean of one function, or of two."""
    reported: Dict[str, Tuple[Metric, ...]] = {}
    if "report_mcc" in logged:
        reported["mcc"] = (matthews_correlation,)
    if "report_acc_and_f1" in logged:
        reported["f1"] = (f1,)
        reported["acc_and_f1"] = (accuracy, f1)
    if "report_pearson_and_spearman" in logged:
        reported["pearson"] = (pearson_correlation,)
        reported["spearman"] = (spearman_correlation,)
        reported["pearson_and_spearman"] = (pearson_correlation, spearman_correlation)
    return reported


def unit_of_loss(logging_outputs: List[Dict[str, Any]]) -> float:
    """What a loss is divided by for the log: classes make it bits, as in fairseq; a squared error stays as it is."""
    return math.log(2) if "ncorrect" in logging_outputs[0] else 1.0


def log_mean(logging_outputs: List[Dict[str, Any]], total: str, unit: float, name: Optional[str] = None) -> None:
    """Log the mean over texts of a sum, under its own name or another."""
    texts = sum(log["nsentences"] for log in logging_outputs)
    mean = sum(log[total] for log in logging_outputs) / texts
    metrics.log_scalar(name or total, mean / unit, texts, round=DIGITS)


def _rows_of_all_workers(predictions: Tensor, targets: Tensor) -> Tensor:
    """``(rows of all workers, 3)``: 1, prediction and target of the rows of this worker, and 0 in those of the others.

    fairseq sums what is logged, which puts these matrices one after the other, and sums nothing of a worker that has
    only repeated a batch, as the others still had one.
    """
    rank = dist.get_rank() if dist.is_initialized() else 0
    parts = [torch.zeros(rows, 3, dtype=torch.double) for rows in gather_from_workers(len(targets))]
    columns = (torch.ones(len(targets)), predictions, targets)
    parts[rank] = torch.stack([column.double().cpu() for column in columns], 1)
    return torch.cat(parts)


def _mean_percentage(functions: Tuple[Metric, ...], meters: MetersDict) -> float:
    predictions, targets = meters[VALIDATED].tensor.numpy().T
    return safe_round(100 * float(np.mean([function(predictions, targets) for function in functions])), DIGITS)


def _require_valid(cfg: SentencePredictionConfig, task: FairseqTask) -> None:
    outputs = task.cfg.num_classes
    if cfg.regression_target:
        if outputs != 1:
            raise UserError(f"--num-classes (task.num_classes) is {outputs}, but regression has 1 output")
        for report in ("report_mcc", "report_acc_and_f1"):
            if cfg[report]:
                raise UserError(f"criterion.{report} is about classes, but criterion.regression_target is set")
        return
    names = class_names(task)
    if len(names) != outputs:
        raise UserError(
            f"--num-classes (task.num_classes) is {outputs}, but {task.cfg.data}/label/dict.txt has {len(names)} "
            f"classes: {', '.join(names)}"
        )
    if cfg.report_acc_and_f1 and outputs != 2:
        raise UserError(f"criterion.report_acc_and_f1 is for two classes, but there are {outputs}")
    if cfg.report_pearson_and_spearman:
        raise UserError("criterion.report_pearson_and_spearman is about numbers; it needs criterion.regression_target")
