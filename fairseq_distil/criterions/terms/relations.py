"""The relation term: which tokens the attention of a layer finds alike."""

from dataclasses import dataclass, field
from typing import Dict, List, Optional, Set

import torch
from fairseq.models import BaseFairseqModel
from torch import Tensor, nn

from fairseq_distil.errors import UserError
from fairseq_distil.losses import relation_divergence

from .activations import Activations
from .layer_pairs import LayerPairsTerm
from .term import register_term

KINDS = ("query", "key", "value")


@dataclass
class RelationOptions:
    relation_weight: float = field(
        default=0.0,
        metadata={"help": "weight of the KL of self-attention relations, a mean over tokens, heads and layer pairs"},
    )
    relation_layer_pairs: str = field(
        default="last",
        metadata={
            "help": "student and teacher layers whose relations are compared, such as 6:11, counted from 1; or last, "
            "or uniform"
        },
    )
    relation_heads: Optional[int] = field(
        default=None, metadata={"help": "relation heads, which divide both widths (default: the teacher's heads)"}
    )
    relation_kinds: str = field(
        default="query,key,value", metadata={"help": "which of query, key and value are related, separated by commas"}
    )


@register_term
class RelationTerm(LayerPairsTerm):
    """The self-attention relations of MiniLMv2 (Wang et al., 2021), summed over queries, keys and values.

    Widths and heads of the two models may differ. A layer is read by what goes into it, so that nothing above is
    computed for this term.
    """

    options = RelationOptions
    weight_name = "relation_weight"
    loss_name = "relation_loss"
    pairs_name = "relation_layer_pairs"

    def __init__(self, cfg: RelationOptions) -> None:
        super().__init__(cfg)
        if cfg.relation_heads is not None and cfg.relation_heads < 1:
            raise UserError(f"criterion.relation_heads is {cfg.relation_heads}, but must be at least 1")
        self.kinds = cfg.relation_kinds.replace(" ", "").split(",")
        if len(set(self.kinds)) < len(self.kinds) or not set(self.kinds) <= set(KINDS):
            raise UserError(
                f"criterion.relation_kinds is {cfg.relation_kinds}; choose different ones of {','.join(KINDS)}"
            )

    def student_layers(self, model: BaseFairseqModel) -> Set[int]:
        return {layer - 1 for layer in super().student_layers(model)}

    def teacher_layers(self, model: BaseFairseqModel) -> Set[int]:
        return {layer - 1 for layer in super().teacher_layers(model)}

    def student_modules(self, model: BaseFairseqModel) -> List[nn.Module]:
        return [_query_key_value(model, student) for student, _ in self.pairs(model)]

    def require_suitable(self, model: BaseFairseqModel) -> None:
        if any(0 in pair for pair in self.pairs(model)):
            raise UserError(
                f"criterion.relation_layer_pairs: {self.cfg.relation_layer_pairs} names layer 0, the embeddings, which "
                "have no attention"
            )
        heads = self._heads(model)
        for role, encoder in (("student", model), ("teacher", model.teacher)):
            if encoder.config.width % heads:
                raise UserError(
                    f"criterion.relation_heads is {heads}, which does not divide the {role}'s width "
                    f"{encoder.config.width}; choose a common divisor of both widths"
                )

    def total(self, activations: Activations) -> Tensor:
        model, net_input = activations.model, activations.net_input
        padding_mask = model.padding_mask(net_input["src_tokens"], net_input.get("has_padding"))
        pairs = self.pairs(model)
        divergences: List[Tensor] = []
        for student_layer, teacher_layer in pairs:
            student = _attention_vectors(model, student_layer, activations.student_states)
            with torch.no_grad():
                teacher = _attention_vectors(model.teacher, teacher_layer, activations.teacher_states)
            for kind in self.kinds:
                divergences.append(relation_divergence(student[kind], teacher[kind], self._heads(model), padding_mask))
        return sum(divergences) / len(pairs)

    def _heads(self, model: BaseFairseqModel) -> int:
        heads = self.cfg.relation_heads
        return model.teacher.config.attention_heads if heads is None else heads


def _attention_vectors(encoder: BaseFairseqModel, layer: int, states: Dict[int, Tensor]) -> Dict[str, Tensor]:
    """Queries, keys and values ``(batch, length, width)`` of a layer, counted from 1."""
    query_key_value = _query_key_value(encoder, layer)(states[layer - 1])
    return dict(zip(KINDS, query_key_value.chunk(3, -1), strict=True))


def _query_key_value(encoder: BaseFairseqModel, layer: int) -> nn.Module:
    return encoder.encoder.layers[layer - 1].attention.query_key_value
