"""A fairseq RoBERTa as a checkpoint of this plugin."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fairseq_distil.checkpoints.conversion import to_our_weights
from fairseq_distil.checkpoints.families import our_activation, require
from fairseq_distil.checkpoints.key_maps import FAIRSEQ_ROBERTA, WORD_EMBEDDINGS
from fairseq_distil.checkpoints.plugin_checkpoint import plugin_checkpoint
from fairseq_distil.checkpoints.source_vocabulary import rows_of_symbols
from fairseq_distil.data.dictionary_check import symbols_beside
from fairseq_distil.errors import UserError, naming

POSITIONS_BEFORE_THE_FIRST = 2  # fairseq counts from the padding's id, which is 1, plus one
LAYER_NORM_EPSILON = 1e-5  # torch's default, which fairseq leaves as it is
NOT_IMPLEMENTED = ("encoder_normalize_before", "untie_weights_roberta", "no_token_positional_embeddings")
SIZES = ("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads")


def is_fairseq_roberta(state: Mapping[str, Any]) -> bool:
    """Whether a checkpoint's weights are those of fairseq's ``roberta``."""
    words = FAIRSEQ_ROBERTA.parameters[WORD_EMBEDDINGS].removeprefix(FAIRSEQ_ROBERTA.body)
    return any(name.endswith(words) for name in state["model"])


def import_fairseq_roberta(path: str, state: Mapping[str, Any], symbols: Sequence[str] | None) -> dict[str, Any]:
    """Convert what fairseq's ``load_checkpoint_to_cpu`` read.

    Args:
        path: of the checkpoint, beside which its ``dict.txt`` lies
        state: the checkpoint
        symbols: of the data's dictionary, with ``<mask>``; None for the checkpoint's own

    Raises:
        UserError: there is no ``dict.txt``, the model is a variant that the encoder does not implement, or the
            vocabulary does not match
    """
    own_symbols = symbols_beside(path)
    with naming(path):
        if own_symbols is None:
            raise UserError(
                "there is no dict.txt beside it, which says what its word embeddings stand for; put it there"
            )
        symbols = own_symbols if symbols is None else list(symbols)
        row_of_symbol = {symbol: row for row, symbol in enumerate(own_symbols)}
        rows = rows_of_symbols(symbols, row_of_symbol, str)
        sizes = _sizes(_option_getter(state))
        layers = sizes["encoder_layers"]
        weights = to_our_weights(state["model"], FAIRSEQ_ROBERTA, layers, rows, POSITIONS_BEFORE_THE_FIRST)
        return plugin_checkpoint(weights, sizes, symbols)


def _option_getter(state: Mapping[str, Any]) -> Callable[[str], Any]:
    """Options by their names, whether fairseq stored them as a configuration or as a Namespace."""
    options = state.get("args") or (state.get("cfg") or {}).get("model") or {}
    return options.get if isinstance(options, Mapping) else lambda name: getattr(options, name, None)


def _sizes(option: Callable[[str], Any]) -> dict[str, Any]:
    for name in NOT_IMPLEMENTED:
        if option(name):
            raise UserError(f"{name} is {option(name)}, which this encoder does not implement")
    missing = [name for name in SIZES if option(name) is None]
    if missing:
        raise UserError(f"its configuration lacks {', '.join(missing)}")
    max_positions = option("max_positions") or option("tokens_per_sample") or 512
    sizes = {**{name: option(name) for name in SIZES}, "max_positions": max_positions}
    for name, size in sizes.items():
        require(type(size) is int and size > 0, name, size, "a positive whole number")
    return {
        **sizes,
        "activation_fn": our_activation(option("activation_fn") or "gelu"),
        "layer_norm_eps": LAYER_NORM_EPSILON,
    }
