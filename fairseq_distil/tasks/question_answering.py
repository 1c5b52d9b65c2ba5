"""Answers as parts of a context, registered as ``question_answering``."""

import os
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Dict, List, Optional, Tuple

import torch
from fairseq import utils
from fairseq.criterions import FairseqCriterion
from fairseq.data import Dictionary
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II, MISSING
from torch import Tensor

from fairseq_distil.criterions import QuestionAnsweringCriterion
from fairseq_distil.data.dictionary_check import MASK_SYMBOL, load_shared_dictionary
from fairseq_distil.data.question_answering_dataset import load_windows
from fairseq_distil.errors import UserError
from fairseq_distil.evaluation.answer_texts import rank_answers, score_ranked
from fairseq_distil.evaluation.squad_metrics import AnswerScores
from fairseq_distil.models import DistilEncoderModel
from fairseq_distil.workers import gather_from_workers

from .project_task import ProjectTask

BEST_SPANS = "_best_spans"  # fairseq does not print what begins with an underscore


@dataclass
class QuestionAnsweringConfig(FairseqDataclass):
    data: str = field(default=MISSING, metadata={"help": "directory that scripts/prepare_squad.py wrote"})
    max_answer_tokens: int = field(default=30, metadata={"help": "tokens of a predicted answer at most"})
    autocast_dtype: ChoiceEnum(["none", "bfloat16", "float16"]) = field(
        default="none",
        metadata={
            "help": "type of matrix products; weights stay float32. bfloat16 is float32 on a CPU without its "
            "instructions; float16 needs --amp, which scales the loss"
        },
    )
    update_freq: List[int] = II("optimization.update_freq")
    seed: int = II("common.seed")
    amp: bool = II("common.amp")


@register_task("question_answering", dataclass=QuestionAnsweringConfig)
class QuestionAnsweringTask(ProjectTask, FairseqTask):
    """SQuAD v1.1: windows of a context after a question, and the positions of the answer.

    Validation reports ``exact_match`` and ``f1`` in percent, over all questions of the split: the best span of each
    window is collected from batches and workers, and questions are scored at the end.
    """

    TOO_LONG = (
        "windows are longer than the model's {max_positions} positions; prepare the data with a smaller --length, see "
        "scripts/prepare_squad.py"
    )

    def __init__(self, cfg: QuestionAnsweringConfig, dictionary: Dictionary) -> None:
        if cfg.max_answer_tokens < 1:
            raise UserError(f"task.max_answer_tokens is {cfg.max_answer_tokens}, but must be positive")
        if str(cfg.autocast_dtype) == "float16" and not cfg.amp:
            raise UserError("task.autocast_dtype float16 needs loss scaling: add --amp (common.amp), or use bfloat16")
        super().__init__(cfg)
        self.dictionary = dictionary
        self.data_vocabulary_size = len(dictionary)  # as yet without the mask
        dictionary.add_symbol(MASK_SYMBOL)  # of the pre-training, so that ids and embeddings stay the same
        self._model: Optional[BaseFairseqModel] = None
        self._unreported_spans: List[Tuple[str, Tensor]] = []
        self._scored: Optional[Tuple[Tensor, AnswerScores]] = None
        self.state.merge_state_dict({"dictionary_symbols": list(dictionary.symbols)})

    @classmethod
    def setup_task(cls, cfg: QuestionAnsweringConfig, **_: Any) -> "QuestionAnsweringTask":
        """Read ``dict.txt`` of the data.

        Raises:
            UserError: a setting is out of range, or the dictionary is missing or damaged
        """
        return cls(cfg, load_shared_dictionary(utils.split_paths(cfg.data)[:1]))

    @property
    def source_dictionary(self) -> Dictionary:
        return self.dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        return self.dictionary

    def load_dataset(self, split: str, combine: bool = False, **_: Any) -> None:
        """Map a split's files.

        Raises:
            UserError: the data are missing or damaged, or do not belong together
        """
        prefix = os.path.join(utils.split_paths(self.cfg.data)[0], split)
        self.datasets[split] = load_windows(
            prefix, split, self.data_vocabulary_size, self.dictionary.pad(), self.cfg.seed
        )

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> BaseFairseqModel:
        """Build the model with a head for answers.

        Raises:
            UserError: the model is of another kind
        """
        model = super().build_model(cfg, from_checkpoint)
        if not isinstance(model, DistilEncoderModel):
            raise UserError(
                f"task question_answering needs a distil_encoder or a teacher_student, not {cfg._name}; give --arch "
                "(model._name) one of them"
            )
        model.register_question_answering_head()
        self._model = model
        return model

    def build_criterion(self, cfg: Any, from_checkpoint: bool = False) -> FairseqCriterion:
        """Build the criterion, which fairseq does after the model, and check that the two fit.

        Raises:
            UserError: the model lacks what the criterion needs
        """
        criterion = super().build_criterion(cfg, from_checkpoint)
        if isinstance(criterion, QuestionAnsweringCriterion) and self._model is not None:
            criterion.require_suitable(self._model)
        return criterion

    def valid_step(self, sample: Dict[str, Any], model: BaseFairseqModel, criterion: torch.nn.Module) -> Any:
        """Evaluate a batch, and keep the best spans of it and of the other workers' batches for the metrics."""
        loss, sample_size, logging_output = super().valid_step(sample, model, criterion)
        if (spans := logging_output.pop("best_spans", None)) is not None:
            self._unreported_spans.append((sample["split"], torch.cat(gather_from_workers(spans))))
        return loss, sample_size, logging_output

    def reduce_metrics(self, logging_outputs: List[Dict[str, Any]], criterion: FairseqCriterion) -> None:
        """Log the criterion's means; in validation also the scores of the questions that were seen."""
        super().reduce_metrics(logging_outputs, criterion)
        for split, spans in self._unreported_spans:
            metrics.log_concat_tensor(BEST_SPANS, spans)
            for name in AnswerScores._fields:
                metrics.log_derived(name, partial(self._score, split, name))
        self._unreported_spans.clear()

    def _score(self, split: str, name: str, meters: Dict[str, Any]) -> float:
        spans = meters[BEST_SPANS].tensor
        if self._scored is None or self._scored[0] is not spans:  # one ranking for both scores
            prepared = self.datasets[split].split
            self._scored = spans, score_ranked(prepared, rank_answers(prepared, spans, n_best=1))
        return round(getattr(self._scored[1], name), 3)
