"""What the terms read of a batch."""

from typing import Any, Callable, Dict, Optional

from fairseq.models import BaseFairseqModel
from torch import Tensor


class Activations:
    """The hidden states of both models that some term needs, and the rows of them that are tokens.

    Args:
        model: the student, with its teacher if it has one
        net_input: the batch, as ``model`` takes it
        student_states: hidden states ``(batch, length, width)`` by layer, counted from 1; 0 are the embeddings'
        teacher_states: the same of the teacher; empty without one
        rows: positions of the tokens in the flattened batch, masked ones first
        masked: how many of them are masked
        widen: maps hidden states of the student to the teacher's width; None where the widths are equal
    """

    def __init__(
        self,
        model: BaseFairseqModel,
        net_input: Dict[str, Any],
        student_states: Dict[int, Tensor],
        teacher_states: Dict[int, Tensor],
        rows: Tensor,
        masked: int,
        widen: Optional[Callable[[Tensor], Tensor]] = None,
    ) -> None:
        self.model = model
        self.net_input = net_input
        self.student_states = student_states
        self.teacher_states = teacher_states
        self.rows = rows
        self.masked = masked
        self.widen = widen
        self._student_rows: Dict[int, Tensor] = {}
        self._teacher_rows: Dict[int, Tensor] = {}

    def student_rows(self, layer: Optional[int] = None) -> Tensor:
        """The tokens' hidden states ``(rows, width)`` of a layer of the student; None: its last."""
        layer = self.model.config.layers if layer is None else layer
        return self._gathered(self._student_rows, self.student_states, layer)

    def widened_student_rows(self, layer: Optional[int] = None) -> Tensor:
        """The same in the teacher's width, to be compared with its rows."""
        rows = self.student_rows(layer)
        return rows if self.widen is None else self.widen(rows)

    def teacher_rows(self, layer: Optional[int] = None) -> Tensor:
        """The tokens' hidden states ``(rows, width)`` of a layer of the teacher; None: its last."""
        layer = self.model.teacher.config.layers if layer is None else layer
        return self._gathered(self._teacher_rows, self.teacher_states, layer)

    def of_masked_tokens(self) -> "Activations":
        """The same of the masked tokens alone."""
        rows = self.rows[: self.masked]
        states = self.student_states, self.teacher_states
        return Activations(self.model, self.net_input, *states, rows, self.masked, self.widen)

    def of_no_token(self) -> "Activations":
        """The same of a batch without sequences, whatever layers of the teacher are there.

        A term of it is 0, costs nothing, and gives a gradient of 0 to every parameter that it reads.
        """
        teacher_states: Dict[int, Tensor] = {}
        if (teacher := getattr(self.model, "teacher", None)) is not None:
            of_teacher = teacher.encoder.embeddings.word_embeddings.weight.new_zeros(0, 1, teacher.config.width)
            teacher_states = dict.fromkeys(range(teacher.config.layers + 1), of_teacher)
        return Activations(
            self.model,
            self.net_input | {"src_tokens": self.net_input["src_tokens"][:0]},
            {layer: states[:0] for layer, states in self.student_states.items()},
            teacher_states,
            self.rows[:0],
            0,
            self.widen,
        )

    def _gathered(self, gathered: Dict[int, Tensor], states: Dict[int, Tensor], layer: int) -> Tensor:
        if layer not in gathered:  # once, for terms share them
            gathered[layer] = states[layer].flatten(0, 1)[self.rows]
        return gathered[layer]
