"""The parameter names of every family of checkpoints, as data that is read in both directions.

Nothing else in the project knows a foreign parameter name. A module stands for its ``weight`` and ``bias``; several
modules on the right are one on the left, their tensors concatenated in that order; ``{layer}`` counts from 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Modules = Mapping[str, tuple[str, ...]]

WORD_EMBEDDINGS = "encoder.embeddings.word_embeddings.weight"
POSITION_EMBEDDINGS = "encoder.embeddings.position_embeddings.weight"
HEAD_BIAS = "masked_lm_head.bias"


@dataclass(frozen=True)
class KeyMap:
    """From this project's names to those of one family.

    Args:
        body: what the names of the body begin with, and what a bare encoder's lack
        parameters: single parameters of the body
        modules: modules of the body outside of the layers
        layer_modules: modules of every layer
        head_parameters: single parameters of the masked-LM head
        head_modules: modules of the masked-LM head
        tied: names of further copies, by name of the parameter that they repeat
        token_types: embeddings of token types, of which row 0 belongs to every position
        ignored: regular expressions of names without an influence on hidden states or masked-LM logits
        old_names: regular expressions of names of old, and what takes their place
        fused: weights of several modules in one tensor, and those modules' weights, in order
    """

    body: str
    parameters: Mapping[str, str]
    modules: Modules
    layer_modules: Modules
    head_parameters: Mapping[str, str]
    head_modules: Modules
    tied: Mapping[str, str]
    token_types: str | None = None
    ignored: tuple[str, ...] = ()
    old_names: Mapping[str, str] = field(default_factory=dict)
    fused: Modules = field(default_factory=dict)

    def names(self, layers: int, with_head: bool) -> dict[str, tuple[str, ...]]:
        """Every parameter of an encoder: our name, and the names whose tensors make it up.

        Args:
            layers: transformer layers
            with_head: whether the masked-LM head is to be among them
        """
        parameters = {**self.parameters, **(self.head_parameters if with_head else {})}
        names = {ours: (theirs,) for ours, theirs in parameters.items()}
        names |= _parameters_of({**self.modules, **(self.head_modules if with_head else {})})
        for layer in range(layers):
            for ours, theirs in _parameters_of(self.layer_modules).items():
                names[ours.format(layer=layer)] = tuple(name.format(layer=layer) for name in theirs)
        return names

    def head_names(self) -> set[str]:
        """The names of the masked-LM head, which a bare encoder lacks."""
        of_modules = _parameters_of(self.head_modules).values()
        return {*self.head_parameters.values(), *(name for names in of_modules for name in names)}


def _parameters_of(modules: Modules) -> dict[str, tuple[str, ...]]:
    return {
        f"{ours}.{kind}": tuple(f"{name}.{kind}" for name in theirs)
        for ours, theirs in modules.items()
        for kind in ("weight", "bias")
    }


def _bert_layer(prefix: str) -> Modules:
    attention = f"{prefix}.attention"
    return {
        "encoder.layers.{layer}.attention.query_key_value": (
            f"{attention}.self.query",
            f"{attention}.self.key",
            f"{attention}.self.value",
        ),
        "encoder.layers.{layer}.attention.output": (f"{attention}.output.dense",),
        "encoder.layers.{layer}.attention_layer_norm": (f"{attention}.output.LayerNorm",),
        "encoder.layers.{layer}.feed_forward_in": (f"{prefix}.intermediate.dense",),
        "encoder.layers.{layer}.feed_forward_out": (f"{prefix}.output.dense",),
        "encoder.layers.{layer}.output_layer_norm": (f"{prefix}.output.LayerNorm",),
    }


TENSORFLOW_NAMES = {r"LayerNorm\.gamma$": "LayerNorm.weight", r"LayerNorm\.beta$": "LayerNorm.bias"}

BERT = KeyMap(
    body="bert.",
    parameters={
        WORD_EMBEDDINGS: "bert.embeddings.word_embeddings.weight",
        POSITION_EMBEDDINGS: "bert.embeddings.position_embeddings.weight",
    },
    modules={"encoder.embeddings.layer_norm": ("bert.embeddings.LayerNorm",)},
    layer_modules=_bert_layer("bert.encoder.layer.{layer}"),
    head_parameters={HEAD_BIAS: "cls.predictions.bias"},
    head_modules={
        "masked_lm_head.dense": ("cls.predictions.transform.dense",),
        "masked_lm_head.layer_norm": ("cls.predictions.transform.LayerNorm",),
    },
    tied={
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    token_types="bert.embeddings.token_type_embeddings.weight",
    ignored=(r"bert\.embeddings\.(position|token_type)_ids", r"bert\.pooler\..*", r"cls\.seq_relationship\..*"),
    old_names=TENSORFLOW_NAMES,
)

ROBERTA = KeyMap(
    body="roberta.",
    parameters={
        WORD_EMBEDDINGS: "roberta.embeddings.word_embeddings.weight",
        POSITION_EMBEDDINGS: "roberta.embeddings.position_embeddings.weight",
    },
    modules={"encoder.embeddings.layer_norm": ("roberta.embeddings.LayerNorm",)},
    layer_modules=_bert_layer("roberta.encoder.layer.{layer}"),
    head_parameters={HEAD_BIAS: "lm_head.bias"},
    head_modules={
        "masked_lm_head.dense": ("lm_head.dense",),
        "masked_lm_head.layer_norm": ("lm_head.layer_norm",),
    },
    tied={
        "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    },
    token_types="roberta.embeddings.token_type_embeddings.weight",
    ignored=(r"roberta\.embeddings\.(position|token_type)_ids", r"roberta\.pooler\..*"),
    old_names=TENSORFLOW_NAMES,
)

DISTILBERT = KeyMap(
    body="distilbert.",
    parameters={
        WORD_EMBEDDINGS: "distilbert.embeddings.word_embeddings.weight",
        POSITION_EMBEDDINGS: "distilbert.embeddings.position_embeddings.weight",
    },
    modules={"encoder.embeddings.layer_norm": ("distilbert.embeddings.LayerNorm",)},
    layer_modules={
        "encoder.layers.{layer}.attention.query_key_value": (
            "distilbert.transformer.layer.{layer}.attention.q_lin",
            "distilbert.transformer.layer.{layer}.attention.k_lin",
            "distilbert.transformer.layer.{layer}.attention.v_lin",
        ),
        "encoder.layers.{layer}.attention.output": ("distilbert.transformer.layer.{layer}.attention.out_lin",),
        "encoder.layers.{layer}.attention_layer_norm": ("distilbert.transformer.layer.{layer}.sa_layer_norm",),
        "encoder.layers.{layer}.feed_forward_in": ("distilbert.transformer.layer.{layer}.ffn.lin1",),
        "encoder.layers.{layer}.feed_forward_out": ("distilbert.transformer.layer.{layer}.ffn.lin2",),
        "encoder.layers.{layer}.output_layer_norm": ("distilbert.transformer.layer.{layer}.output_layer_norm",),
    },
    head_parameters={HEAD_BIAS: "vocab_projector.bias"},
    head_modules={
        "masked_lm_head.dense": ("vocab_transform",),
        "masked_lm_head.layer_norm": ("vocab_layer_norm",),
    },
    tied={"vocab_projector.weight": "distilbert.embeddings.word_embeddings.weight"},
    ignored=(r"distilbert\.embeddings\.position_ids",),
)

FAIRSEQ_ROBERTA = KeyMap(
    body="encoder.",
    parameters={
        WORD_EMBEDDINGS: "encoder.sentence_encoder.embed_tokens.weight",
        POSITION_EMBEDDINGS: "encoder.sentence_encoder.embed_positions.weight",
    },
    modules={"encoder.embeddings.layer_norm": ("encoder.sentence_encoder.layernorm_embedding",)},
    layer_modules={
        "encoder.layers.{layer}.attention.query_key_value": (
            "encoder.sentence_encoder.layers.{layer}.self_attn.q_proj",
            "encoder.sentence_encoder.layers.{layer}.self_attn.k_proj",
            "encoder.sentence_encoder.layers.{layer}.self_attn.v_proj",
        ),
        "encoder.layers.{layer}.attention.output": ("encoder.sentence_encoder.layers.{layer}.self_attn.out_proj",),
        "encoder.layers.{layer}.attention_layer_norm": (
            "encoder.sentence_encoder.layers.{layer}.self_attn_layer_norm",
        ),
        "encoder.layers.{layer}.feed_forward_in": ("encoder.sentence_encoder.layers.{layer}.fc1",),
        "encoder.layers.{layer}.feed_forward_out": ("encoder.sentence_encoder.layers.{layer}.fc2",),
        "encoder.layers.{layer}.output_layer_norm": ("encoder.sentence_encoder.layers.{layer}.final_layer_norm",),
    },
    head_parameters={HEAD_BIAS: "encoder.lm_head.bias"},
    head_modules={
        "masked_lm_head.dense": ("encoder.lm_head.dense",),
        "masked_lm_head.layer_norm": ("encoder.lm_head.layer_norm",),
    },
    tied={"encoder.lm_head.weight": "encoder.sentence_encoder.embed_tokens.weight"},
    ignored=(r"encoder\.sentence_encoder\.(version|embed_positions\._float_tensor)", r"classification_heads\..*"),
    old_names={r"^decoder\.": "encoder.", r"\.emb_layer_norm\.": ".layernorm_embedding."},
    fused={
        rf"(.*\.self_attn)\.in_proj_{kind}": tuple(rf"\1.{name}_proj.{kind}" for name in "qkv")
        for kind in ("weight", "bias")
    },
)
