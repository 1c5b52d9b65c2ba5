"""The objective of distillation, DistilBERT's triple loss by default, registered as ``distillation``."""

from collections.abc import Mapping
from typing import Any, Dict, List, Optional, Tuple, Union

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from fairseq_distil.errors import UserError
from fairseq_distil.losses import (
    TermScales,
    TokenPositions,
    VocabularyLoss,
    VocabularyProjection,
    WordOutcomes,
    vocabulary_loss,
)
from fairseq_distil.modules import least_squares

from .distillation_config import DistillationConfig
from .freezing import freeze_unread_parameters
from .objective_log import SCHEDULED, log_means
from .requirements import require_options_of_use, require_suitable
from .scheduled_settings import TEMPERATURE, ScheduledSettings
from .terms import TERMS, Activations, ActivationTerm, Term, VocabularyTerm
from .terms.masked_lm import MaskedLMTerm
from .terms.soft_target import SoftTargetTerm


@register_criterion("distillation", dataclass=DistillationConfig)
class DistillationCriterion(FairseqCriterion):
    """The weighted sum of the terms, each a mean over its own tokens.

    The terms are in the folder ``terms``. The two over the vocabulary share one pass, see :func:`vocabulary_loss`.

    Gradients are divided by one ``sample_size``, summed over micro-batches and workers. It counts all tokens, and the
    sums over masked tokens are divided by ``mask_prob``, the rate at which masking selects them exactly on average,
    which a batch may tell: two micro-batches then add up to one of double size. Where every active term is over masked
    tokens, ``sample_size`` counts those, as in fairseq's ``masked_lm``.

    A term whose schedule has ended at 0 is computed of no token from then on in training: what it reads has a gradient
    of 0, which workers can exchange. The log of training leaves it out; validation computes and tells it.
    """

    def __init__(self, cfg: DistillationConfig, task: FairseqTask) -> None:
        super().__init__(task)
        self.cfg = cfg
        terms: Dict[type, Term] = {term: term(cfg) for term in TERMS}
        self.scheduled_settings = ScheduledSettings(cfg, terms.values())
        self.terms = [term for term in terms.values() if term.is_active]
        self.other_terms = [term for term in terms.values() if not term.is_active]
        if not self.terms:
            names = ", ".join(term.weight_name for term in TERMS)
            raise UserError(f"all of {names} are 0, so that there is nothing to learn; raise at least one")
        self.activation_terms = [term for term in self.terms if isinstance(term, ActivationTerm)]
        self.soft_target, self.masked_lm = terms[SoftTargetTerm], terms[MaskedLMTerm]
        self.vocabulary_terms = [term for term in self.terms if isinstance(term, VocabularyTerm)]
        self.mask_prob = task.cfg.mask_prob
        self.is_fit = False
        self.width_projection: Optional[nn.Linear] = None
        self.is_over_all_tokens = any(term.is_over_all_tokens for term in self.terms)
        self.soft_targets_everywhere = self.soft_target.is_active and self.soft_target.is_over_all_tokens

    def require_options_of_use(self) -> None:
        """Check that no option is for nothing; see :func:`require_options_of_use`."""
        require_options_of_use(self.cfg, self.other_terms)

    def fit_to(self, model: BaseFairseqModel) -> None:
        """Check that a model is suitable, freeze what no term reads, and make the projection that its width asks for.

        A narrower student's hidden states are mapped to the teacher's width by a matrix that trains with it. It belongs
        to the criterion, so that no export has it. It starts as what maps the student's word embeddings to the
        teacher's by least squares.

        Raises:
            UserError: see :func:`require_suitable`, or the student is wider than its teacher
        """
        self.is_fit = True
        require_suitable(self.terms, model, self.mask_prob)
        if self.scheduled_settings.changes_temperature and model.soft_target_cache is not None:
            raise UserError(
                f"criterion.schedules changes {TEMPERATURE}, but --teacher-cache (model.teacher_cache) keeps soft "
                "targets of one; leave one of them out"
            )
        freeze_unread_parameters(self.terms, model)
        if not any(term.compares_hidden_states for term in self.terms):
            return
        student_width, teacher_width = model.config.width, model.teacher.config.width
        if student_width < teacher_width:
            words = (one.encoder.embeddings.word_embeddings.weight.detach().double() for one in (model, model.teacher))
            self.width_projection = nn.Linear(student_width, teacher_width, bias=False)
            self.width_projection.weight.data.copy_(least_squares(*words).T)
        elif student_width > teacher_width:
            raise UserError(
                f"the student is {student_width} wide, more than its teacher, which is {teacher_width}: their hidden "
                "states cannot be compared; lower --encoder-embed-dim, or set cosine_weight and hidden_weight to 0"
            )

    def load_state_dict(self, state_dict: Optional[Mapping[str, Any]], *arguments: Any, **keywords: Any) -> Any:
        """See :meth:`torch.nn.Module.load_state_dict`; of a criterion without weights fairseq stores None.

        Raises:
            UserError: there is none, but a projection that it should hold
        """
        if state_dict is None and self.width_projection is not None:
            raise UserError(
                "it has no projection of the student's hidden states to the teacher's width, for no term of its run "
                "compared them; set criterion.cosine_weight and criterion.hidden_weight to 0, or begin a new run from "
                "it: give it to --pretrained (model.pretrained), and another --save-dir (checkpoint.save_dir)"
            )
        return super().load_state_dict(state_dict, *arguments, **keywords)

    def forward(
        self, model: BaseFairseqModel, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, int, Dict[str, Any]]:
        """Compute the objective of a batch.

        Returns:
            the loss as a sum, the sample size that it is to be divided by, and sums and counts for the log

        Raises:
            UserError: see :func:`require_suitable`, or the task has not fit it to the model
        """
        if not self.is_fit:
            raise UserError("criterion distillation is of task distil_masked_lm; take --task distil_masked_lm")
        scheduled = self.scheduled_settings.follow(model)
        mask_prob = sample.get("mask_prob", self.mask_prob)
        if "mask_prob" in sample:
            scheduled["mask_prob"] = mask_prob
        # Without masks there are no masked rows to scale.
        masked_scale = 1 / mask_prob if self.is_over_all_tokens and mask_prob > 0 else 1.0
        positions = self._positions(sample)
        masked, tokens = len(positions.masked), len(positions.masked) + len(positions.unmasked)
        rows = torch.cat(positions) if self.is_over_all_tokens else positions.masked
        activations = self._activations(model, sample["net_input"], rows, masked)
        logging_output = {
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "sample_size": tokens if self.is_over_all_tokens else masked,
            "masked_tokens": masked,
        }
        loss = torch.zeros((), device=rows.device)
        if self._needs_vocabulary(model):
            targets = sample["target"].flatten()[positions.masked]
            vocabulary = self._vocabulary_loss(activations, targets, masked_scale, sample)
            loss = loss + vocabulary.total
            logging_output |= self._vocabulary_log(vocabulary, tokens if self.soft_targets_everywhere else masked)
        for term in self.activation_terms:
            if term.has_faded:
                loss = loss + term.total(activations.of_no_token())
                continue
            read, count, scale = activations, tokens, 1.0
            if not term.is_over_all_tokens:
                read, count, scale = activations.of_masked_tokens(), masked, masked_scale
            total = term.total(read)
            loss = loss + term.weight * scale * total
            logging_output |= {term.loss_name: total.detach(), term.tokens_name(): count}
        for name, value in scheduled.items():  # as sums, like all others
            logging_output[SCHEDULED + name] = value * logging_output["sample_size"]
        logging_output["loss"] = loss.detach()
        return loss, logging_output["sample_size"], logging_output

    def _positions(self, sample: Dict[str, Any]) -> TokenPositions:
        if "positions" in sample:
            return TokenPositions(**sample["positions"])
        return TokenPositions.of(sample["net_input"]["src_tokens"], sample["target"], self.padding_idx)

    def _activations(
        self, model: BaseFairseqModel, net_input: Dict[str, Any], rows: Tensor, masked: int
    ) -> Activations:
        """Run both models, as far as the terms need them."""
        teacher_terms = [term for term in self.terms if term.needs_teacher and not term.has_faded]
        if teacher_terms:
            require_suitable(self.terms, model, self.mask_prob)
        for_vocabulary = {model.config.layers} if self._needs_vocabulary(model) else set()
        student_layers = sorted(for_vocabulary.union(*(term.student_layers(model) for term in self.terms)))
        states = model(**net_input, features_only=True, layers=tuple(student_layers))[1]["inner_states"]
        student_states = dict(zip(student_layers, states, strict=True))
        teacher_layers = sorted(set().union(*(term.teacher_layers(model) for term in teacher_terms)))
        teacher_states = model.teacher_states(net_input, teacher_layers) if teacher_layers else {}
        return Activations(model, net_input, student_states, teacher_states, rows, masked, self.width_projection)

    def _needs_vocabulary(self, model: BaseFairseqModel) -> bool:
        """Whether to project on the vocabulary: for a term, or to tell a validation's perplexity where none has it."""
        return bool(self.vocabulary_terms) or (not model.training and model.masked_lm_head is not None)

    def _vocabulary_has_faded(self) -> bool:
        return bool(self.vocabulary_terms) and all(term.has_faded for term in self.vocabulary_terms)

    def _vocabulary_loss(
        self, activations: Activations, targets: Tensor, masked_scale: float, sample: Dict[str, Any]
    ) -> VocabularyLoss:
        model = activations.model
        has_soft_targets = self.soft_target.is_active and not self.soft_target.has_faded
        if self._vocabulary_has_faded():
            targets = targets[:0]
        needed = slice(None) if has_soft_targets and self.soft_targets_everywhere else slice(len(targets))
        student = model.vocabulary_projection(activations.student_rows()[needed])
        scales = TermScales(
            temperature=self.scheduled_settings.temperature,
            soft_target=self.soft_target.weight * (1.0 if self.soft_targets_everywhere else masked_scale),
            mlm=self.masked_lm.weight * masked_scale,
            top_k=self.cfg.soft_target_top_k,
            teacher_weights=model.teacher_weights if has_soft_targets else (),
        )
        teachers: Union[List[VocabularyProjection], WordOutcomes] = []
        if has_soft_targets and model.soft_target_cache is not None:
            teachers = model.stored_outcomes(sample, scales)
        elif has_soft_targets:
            teachers.append(model.teacher_projection(activations.teacher_rows()[needed]))
            teachers += model.further_teacher_projections(activations.net_input, activations.rows[needed])
        return vocabulary_loss(student, teachers, targets, scales)

    def _vocabulary_log(self, vocabulary: VocabularyLoss, soft_target_tokens: int) -> Dict[str, Any]:
        log: Dict[str, Any] = {}
        if not self._vocabulary_has_faded():
            log |= {"mlm_loss": vocabulary.mlm, "mlm_correct": vocabulary.mlm_correct}
        if self.soft_target.is_active and not self.soft_target.has_faded:
            log |= {"soft_target_loss": vocabulary.soft_target, "soft_target_tokens": soft_target_tokens}
            log["teacher_agreement"] = vocabulary.teacher_agreement
        return log

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
        """See :func:`log_means`."""
        log_means(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All values are sums, the same keys from every worker."""
        return True
