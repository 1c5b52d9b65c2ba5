"""Where an answer begins and ends, also from a fine-tuned teacher; registered as ``question_answering``."""

import math
from dataclasses import dataclass, field
from typing import Any, Dict, List, Tuple

from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from torch import Tensor

from fairseq_distil.errors import UserError
from fairseq_distil.evaluation.answer_spans import best_spans
from fairseq_distil.evaluation.answer_texts import span_rows
from fairseq_distil.losses import answer_span_loss, answer_span_soft_target_loss

from .settings import require_temperature, require_weight


@dataclass
class QuestionAnsweringCriterionConfig(FairseqDataclass):
    """Without a teacher, which a ``teacher_student`` has, the settings are of no effect."""

    teacher_weight: float = field(
        default=1.0,
        metadata={"help": "weight of T^2 KL(teacher || student) beside the task's loss, where there is a teacher"},
    )
    soft_target_temperature: float = field(
        default=2.0, metadata={"help": "temperature T that softens both distributions"}
    )


@register_criterion("question_answering", dataclass=QuestionAnsweringCriterionConfig)
class QuestionAnsweringCriterion(FairseqCriterion):
    """``CE + teacher_weight * T^2 KL``, each the mean of that of start and end; a mean over windows."""

    def __init__(self, cfg: QuestionAnsweringCriterionConfig, task: FairseqTask) -> None:
        super().__init__(task)
        require_weight("teacher_weight", cfg.teacher_weight)
        require_temperature(cfg.soft_target_temperature)
        if "max_answer_tokens" not in task.cfg:
            raise UserError("criterion question_answering needs --task question_answering (task._name)")
        self.cfg = cfg
        self.padding_index = task.source_dictionary.pad()
        self.max_answer_tokens = task.cfg.max_answer_tokens

    def learns_from_teacher(self, model: BaseFairseqModel) -> bool:
        """Whether the teacher's term has weight."""
        return self.cfg.teacher_weight > 0 and getattr(model, "teacher", None) is not None

    def require_suitable(self, model: BaseFairseqModel) -> None:
        """Check that a teacher answers questions.

        Raises:
            UserError: it has no question-answering head
        """
        if self.learns_from_teacher(model) and model.teacher.question_answering_head is None:
            raise UserError(
                "the teacher has no question-answering head: give --teacher (model.teacher) a checkpoint that was "
                "fine-tuned with --task question_answering, or set --teacher-weight (criterion.teacher_weight) to 0"
            )

    def forward(
        self, model: BaseFairseqModel, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, int, Dict[str, Any]]:
        """Compute the objective of a batch; in evaluation also the best span of each window.

        Returns:
            the loss as a sum, the number of windows that it is to be divided by, and sums and counts for the log
        """
        net_input = sample["net_input"]
        teacher_logits = None
        if self.learns_from_teacher(model):  # before the student runs: what comes from a cache waits for a GPU
            teacher_logits = model.task_teacher_logits(sample, answer_logits=True)
        logits = model(**net_input, answer_logits=True)[0]
        is_padding = net_input["src_tokens"].eq(self.padding_index)
        loss = answer_loss = answer_span_loss(logits, sample["target"], is_padding)
        logging_output = {
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "sample_size": sample["answers"],
            "answer_loss": answer_loss.detach(),
        }
        if teacher_logits is not None:
            temperature = self.cfg.soft_target_temperature
            soft_target = answer_span_soft_target_loss(logits, teacher_logits, is_padding, temperature)
            loss = answer_loss + self.cfg.teacher_weight * soft_target
            logging_output["soft_target_loss"] = soft_target.detach()
        if not self.training:
            lengths = net_input["src_lengths"]
            spans = best_spans(logits, sample["context_starts"], lengths, self.max_answer_tokens, n_best=1)
            logging_output["best_spans"] = span_rows(sample["id"], spans)
        logging_output["loss"] = loss.detach()
        return loss, sample["answers"], logging_output

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
        """Log means over windows, across micro-batches and workers, in bits, without the weight of the teacher."""
        for name, count in (
            ("loss", "sample_size"),
            ("answer_loss", "sample_size"),
            ("soft_target_loss", "nsentences"),
        ):
            windows = sum(log[count] for log in logging_outputs)
            if windows > 0 and all(name in log for log in logging_outputs):
                total = sum(log[name] for log in logging_outputs)
                metrics.log_scalar(name, total / windows / math.log(2), windows, round=3)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All values are sums; the task takes the spans out before."""
        return True
