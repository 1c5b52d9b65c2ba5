"""Terms that compare layers of student and teacher in pairs."""

from typing import ClassVar, List, Set, Tuple

from fairseq.models import BaseFairseqModel

from fairseq_distil.errors import UserError
from fairseq_distil.modules import parse_layer_pairs

from .term import ActivationTerm


class LayerPairsTerm(ActivationTerm):
    """A term of pairs of layers, which one of its options names, see :func:`parse_layer_pairs`."""

    pairs_name: ClassVar[str]

    def pairs(self, model: BaseFairseqModel) -> List[Tuple[int, int]]:
        """Student and teacher layer of each pair, counted from 1.

        Raises:
            UserError: the option names no pairs of these two
        """
        text = getattr(self.cfg, self.pairs_name)
        try:
            return parse_layer_pairs(text, model.config.layers, model.teacher.config.layers)
        except ValueError as error:
            raise UserError(f"criterion.{self.pairs_name}: {error}") from error

    def student_layers(self, model: BaseFairseqModel) -> Set[int]:
        return {student for student, _ in self.pairs(model)}

    def teacher_layers(self, model: BaseFairseqModel) -> Set[int]:
        return {teacher for _, teacher in self.pairs(model)}

    def require_suitable(self, model: BaseFairseqModel) -> None:
        self.pairs(model)
