"""What a term of the objective is."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, List, NamedTuple, Optional, Set, Type

from fairseq.dataclass import ChoiceEnum
from fairseq.models import BaseFairseqModel
from torch import Tensor, nn

from fairseq_distil.criterions.settings import require_weight

from .activations import Activations

Positions = ChoiceEnum(["all", "masked"])
"""The tokens that a term may be over: all but padding, or those that are selected for prediction."""


class Scalar(NamedTuple):
    """A mean for the log: of a sum over a count, both of which every batch reports."""

    name: str
    total: str
    """key of the sum"""
    count: str
    """key of what it is divided by"""
    unit: float = 1.0
    """of the sum, such as the nats of a bit"""
    digits: int = 3


class Term(ABC):
    """One term: its options, its weight, what it reads of the models, which alone trains, and what it logs.

    A file of this folder with an :class:`ActivationTerm` under :func:`register_term` is all that a new one takes: its
    options become those of the criterion.
    """

    options: ClassVar[Type]
    """Dataclass of the options, ``weight_name`` among them."""
    weight_name: ClassVar[str]
    positions_name: ClassVar[Optional[str]] = None
    """of the option that says whether it is over all tokens or the masked ones, if it has one"""
    needs_teacher: ClassVar[bool] = True
    needs_masked_lm_heads: ClassVar[bool] = False
    compares_hidden_states: ClassVar[bool] = False
    """of student and teacher, which then must be equally wide; a narrower student's are projected"""

    def __init__(self, cfg: Any) -> None:
        """Take the options, which ``cfg`` has among others.

        Raises:
            UserError: one is out of range
        """
        self.cfg = cfg
        self.weight: float = getattr(cfg, self.weight_name)
        require_weight(self.weight_name, self.weight)
        self.is_active = self.weight > 0
        self.has_faded = False
        """Whether the weight is 0 for the rest of the training, so that its value is of no use."""

    @property
    def is_over_all_tokens(self) -> bool:
        """Whether it is summed over all tokens but padding, or else over the masked ones alone."""
        return self.positions_name is None or str(getattr(self.cfg, self.positions_name)) == "all"

    def student_layers(self, model: BaseFairseqModel) -> Set[int]:
        """The layers whose hidden states it reads, counted from 1; 0 are the embeddings."""
        return {model.config.layers}

    def teacher_layers(self, model: BaseFairseqModel) -> Set[int]:
        """The same of the teacher, if it needs one."""
        return {model.teacher.config.layers}

    def student_modules(self, model: BaseFairseqModel) -> List[nn.Module]:
        """What it reads of the student besides the modules that these hidden states come from.

        What no term names here or by its layers does not train.
        """
        return [model.masked_lm_head] if self.needs_masked_lm_heads else []

    @classmethod
    @abstractmethod
    def scalars(cls) -> List[Scalar]:
        """What it logs."""

    def require_suitable(self, model: BaseFairseqModel) -> None:  # noqa: B027, most need nothing else
        """Check what else it needs of a model, which has the teacher and the heads that it needs.

        Raises:
            UserError: the model has it not
        """


class VocabularyTerm(Term):
    """A term of both models' logits: :func:`~fairseq_distil.losses.vocabulary_loss` has all of them in one pass.

    One more takes a part of that pass, and of what the criterion gives it. One that is content with logits of its own
    is an :class:`ActivationTerm`.
    """

    needs_masked_lm_heads = True


class ActivationTerm(Term):
    """A term of hidden states: a sum over its tokens, each of which counts once."""

    loss_name: ClassVar[str]
    """of its scalar, with ``_loss`` at the end"""

    @classmethod
    def tokens_name(cls) -> str:
        """Key of the number of tokens."""
        return f"{cls.loss_name.removesuffix('_loss')}_tokens"

    @classmethod
    def scalars(cls) -> List[Scalar]:
        return [Scalar(cls.loss_name, cls.loss_name, cls.tokens_name(), digits=4)]

    @abstractmethod
    def total(self, activations: Activations) -> Tensor:
        """The sum over the tokens of a batch, without the weight: a float32 scalar.

        Args:
            activations: of the tokens that it is over
        """


TERMS: List[Type[Term]] = []
"""All that there are."""


def register_term(term: Type[Term]) -> Type[Term]:
    """Make a term part of the objective.

    Raises:
        TypeError: it is of no kind that the criterion computes
    """
    if not issubclass(term, (ActivationTerm, VocabularyTerm)):
        raise TypeError(f"nothing computes the term {term.__name__}; make it an ActivationTerm")
    TERMS.append(term)
    return term
