"""The cosine term: the direction of the last hidden states."""

from dataclasses import dataclass, field

from torch import Tensor

from fairseq_distil.losses import cosine_distance

from .activations import Activations
from .term import ActivationTerm, Positions, register_term


@dataclass
class CosineOptions:
    cosine_weight: float = field(
        default=1.0, metadata={"help": "weight of 1 - cos of the last hidden states, a mean over tokens"}
    )
    cosine_positions: Positions = field(
        default="all", metadata={"help": "tokens of the cosine term: all but padding, or the masked ones"}
    )


@register_term
class CosineTerm(ActivationTerm):
    """``1 - cos`` of the last hidden states (L_cos of Sanh et al., 2019)."""

    options = CosineOptions
    weight_name = "cosine_weight"
    positions_name = "cosine_positions"
    loss_name = "cosine_loss"
    compares_hidden_states = True

    def total(self, activations: Activations) -> Tensor:
        return cosine_distance(activations.widened_student_rows(), activations.teacher_rows())
