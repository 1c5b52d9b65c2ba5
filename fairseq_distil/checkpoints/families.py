"""The families of encoders that transformers knows and this project converts: names of sizes, and their variants."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairseq_distil.checkpoints.key_map import KeyMap
from fairseq_distil.checkpoints.key_maps import BERT, DISTILBERT, ROBERTA
from fairseq_distil.errors import UserError

# The first name of each is the one that an export writes.
ACTIVATION_NAMES = {
    "gelu": ("gelu", "gelu_python"),
    "gelu_tanh": ("gelu_pytorch_tanh", "gelu_new", "gelu_python_tanh", "gelu_accurate"),
    "relu": ("relu",),
    "silu": ("silu", "swish"),
}
ALTERNATIVES_NOT_IMPLEMENTED = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
"""Settings of a ``config.json``, and the only values that this project's encoder implements."""


@dataclass(frozen=True)
class Family:
    """What tells one family's ``config.json`` and weights from another's.

    Args:
        key_map: names of the parameters
        size_names: the fields of ``config.json``, by the model options of this project
        defaults: values of fields that a ``config.json`` may lack
        positions_follow_padding: whether position embeddings start after the padding's id, as RoBERTa's do
        fixed: model options of this project that the family has no field for
        head_activation: activation of the masked-LM head, if it is not always the feed-forward blocks'
    """

    key_map: KeyMap
    size_names: Mapping[str, str]
    defaults: Mapping[str, Any]
    positions_follow_padding: bool = False
    fixed: Mapping[str, Any] | None = None
    head_activation: str | None = None

    def first_position(self, config: Mapping[str, Any]) -> int:
        """Row of the position embeddings that is the first token's."""
        return {**self.defaults, **config}["pad_token_id"] + 1 if self.positions_follow_padding else 0

    def sizes(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The model options of this project for a ``config.json``.

        Raises:
            UserError: a size is missing, or the encoder is a variant that this project does not implement
        """
        for name, implemented in ALTERNATIVES_NOT_IMPLEMENTED.items():
            if config.get(name, implemented) != implemented:
                raise UserError(f"{name} is {config[name]!r}; this encoder implements {implemented!r} only")
        known = {**self.defaults, **config}
        missing = [name for name in self.size_names.values() if name not in known]
        if missing:
            raise UserError(f"it lacks {', '.join(missing)}")
        for option, name in self.size_names.items():
            if option == "layer_norm_eps":
                is_small = type(known[name]) in (float, int) and 0 <= known[name] < 1
                require(is_small, name, known[name], "a number from 0 to 1")
            elif option != "activation_fn":
                require(type(known[name]) is int and known[name] > 0, name, known[name], "a positive whole number")
        if self.positions_follow_padding:
            row = known["pad_token_id"]
            require(type(row) is int and row >= 0, "pad_token_id", row, "a whole number")
        sizes = {option: known[name] for option, name in self.size_names.items()} | dict(self.fixed or {})
        sizes["activation_fn"] = our_activation(sizes["activation_fn"])
        sizes["max_positions"] -= self.first_position(known)
        if self.head_activation not in (None, sizes["activation_fn"]):
            raise UserError(
                f"its feed-forward blocks use {sizes['activation_fn']}, its masked-LM head {self.head_activation}; "
                "this encoder has one activation for both"
            )
        return sizes

    def config(self, sizes: Mapping[str, Any], padding_row: int) -> dict[str, Any]:
        """The inverse of :meth:`sizes`.

        Raises:
            UserError: this family cannot express a size
        """
        fixed = {**(self.fixed or {}), **({"activation_fn": self.head_activation} if self.head_activation else {})}
        for option, value in fixed.items():
            if sizes[option] != value:
                raise UserError(f"{option} is {sizes[option]}, and this architecture has {value} only; choose another")
        theirs = {name: sizes[option] for option, name in self.size_names.items()}
        theirs[self.size_names["activation_fn"]] = ACTIVATION_NAMES[sizes["activation_fn"]][0]
        theirs[self.size_names["max_positions"]] += self.first_position({"pad_token_id": padding_row})
        return theirs


def require(holds: bool, name: str, found: Any, expected: str) -> None:
    """Raise a UserError that says what was found under a setting's name and what was expected, unless it holds."""
    if not holds:
        raise UserError(f"{name} is {found!r}, expected {expected}")


def our_activation(name: str) -> str:
    """This project's name of an activation.

    Raises:
        UserError: the encoder does not implement it
    """
    for ours, theirs in ACTIVATION_NAMES.items():
        if name in theirs:
            return ours
    known = ", ".join(name for names in ACTIVATION_NAMES.values() for name in names)
    raise UserError(f"its activation is {name!r}; this encoder implements {known}")


BERT_SIZES = {
    "encoder_layers": "num_hidden_layers",
    "encoder_embed_dim": "hidden_size",
    "encoder_ffn_embed_dim": "intermediate_size",
    "encoder_attention_heads": "num_attention_heads",
    "max_positions": "max_position_embeddings",
    "activation_fn": "hidden_act",
    "layer_norm_eps": "layer_norm_eps",
}
BERT_DEFAULTS = {"hidden_act": "gelu", "layer_norm_eps": 1e-12}

BERT_FAMILY = Family(BERT, BERT_SIZES, BERT_DEFAULTS)
ROBERTA_FAMILY = Family(
    ROBERTA,
    BERT_SIZES,
    {**BERT_DEFAULTS, "pad_token_id": 1},
    positions_follow_padding=True,
    head_activation="gelu",
)
DISTILBERT_FAMILY = Family(
    DISTILBERT,
    {
        "encoder_layers": "n_layers",
        "encoder_embed_dim": "dim",
        "encoder_ffn_embed_dim": "hidden_dim",
        "encoder_attention_heads": "n_heads",
        "max_positions": "max_position_embeddings",
        "activation_fn": "activation",
    },
    {"activation": "gelu"},
    fixed={"layer_norm_eps": 1e-12},
)
FAMILY_OF_MODEL_TYPE = {
    "bert": BERT_FAMILY,
    "distilbert": DISTILBERT_FAMILY,
    "roberta": ROBERTA_FAMILY,
    "xlm-roberta": ROBERTA_FAMILY,
    "camembert": ROBERTA_FAMILY,
}
