"""The hidden-state term: what layers of the student hold, against layers of the teacher."""

from dataclasses import dataclass, field

from fairseq.dataclass import ChoiceEnum
from torch import Tensor

from fairseq_distil.losses import cosine_distance, mean_squared_distance

from .activations import Activations
from .layer_pairs import LayerPairsTerm
from .term import Positions, register_term

DISTANCES = {"cosine": cosine_distance, "mse": mean_squared_distance}


@dataclass
class HiddenStateOptions:
    hidden_weight: float = field(
        default=0.0, metadata={"help": "weight of the distance of hidden states, a mean over tokens and layer pairs"}
    )
    hidden_layer_pairs: str = field(
        default="uniform",
        metadata={
            "help": "student and teacher layers to compare, such as 3:6,6:12, counted from 1, and 0 the embeddings; "
            "or last; or uniform: every student layer with the teacher's at the same part of its depth"
        },
    )
    hidden_positions: Positions = field(
        default="all", metadata={"help": "tokens of the hidden-state term: all but padding, or the masked ones"}
    )
    hidden_distance: ChoiceEnum(list(DISTANCES)) = field(
        default="mse", metadata={"help": "1 - cosine, or the mean over the width of the squared difference"}
    )


@register_term
class HiddenStateTerm(LayerPairsTerm):
    """The distance of hidden states of layer pairs (Romero et al., 2015; Jiao et al., 2020)."""

    options = HiddenStateOptions
    weight_name = "hidden_weight"
    positions_name = "hidden_positions"
    loss_name = "hidden_loss"
    pairs_name = "hidden_layer_pairs"
    compares_hidden_states = True

    def total(self, activations: Activations) -> Tensor:
        distance = DISTANCES[str(self.cfg.hidden_distance)]
        pairs = self.pairs(activations.model)
        total = sum(distance(activations.widened_student_rows(s), activations.teacher_rows(t)) for s, t in pairs)
        return total / len(pairs)
