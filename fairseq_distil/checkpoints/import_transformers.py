"""A directory of transformers as a checkpoint of this plugin."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fairseq_distil.checkpoints.conversion import to_our_weights
from fairseq_distil.checkpoints.families import FAMILY_OF_MODEL_TYPE, Family
from fairseq_distil.checkpoints.plugin_checkpoint import plugin_checkpoint
from fairseq_distil.checkpoints.source_vocabulary import default_symbols, read_vocabulary, rows_of_symbols
from fairseq_distil.checkpoints.transformers_directory import CONFIG_FILE, read_config, read_weights
from fairseq_distil.errors import UserError, naming


def import_transformers(
    directory: Path, symbols: Sequence[str] | None, piece_of_symbol: Callable[[str], str] = str
) -> dict[str, Any]:
    """Read an encoder: BERT, DistilBERT, RoBERTa, XLM-R or CamemBERT, with the heads that both sides have.

    These are the masked-LM head, the head for question answering, and DistilBERT's for classification.

    Args:
        directory: what ``save_pretrained`` wrote, the tokeniser included
        symbols: of the data's dictionary, with ``<mask>``; None for the source's own, in its order
        piece_of_symbol: what the data's tokeniser calls a symbol

    Returns:
        a checkpoint, see :func:`~fairseq_distil.checkpoints.plugin_checkpoint.plugin_checkpoint`

    Raises:
        UserError: a file is missing, damaged or unsafe, the model is of another kind, or the vocabulary does not match
    """
    config = read_config(directory)
    with naming(directory / CONFIG_FILE):
        family = _family(config)
        sizes = family.sizes(config)
    row_of_piece = read_vocabulary(directory)
    with naming(directory):
        symbols = default_symbols(row_of_piece) if symbols is None else list(symbols)
        rows = rows_of_symbols(symbols, row_of_piece, piece_of_symbol)
    source = read_weights(directory)
    with naming(directory):
        layers, first_position = sizes["encoder_layers"], family.first_position(config)
        weights = to_our_weights(source, family.key_map, layers, rows, first_position)
        return plugin_checkpoint(weights, sizes, symbols, _classification(config))


def _family(config: Mapping[str, Any]) -> Family:
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILY_OF_MODEL_TYPE:
        raise UserError(f"model_type is {model_type!r}; expected one of {', '.join(FAMILY_OF_MODEL_TYPE)}")
    return FAMILY_OF_MODEL_TYPE[model_type]


def _classification(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a fine-tuned classifier's outputs mean, as far as its configuration says."""
    labels = config.get("id2label")
    meaning = {"problem_type": config.get("problem_type")}
    if isinstance(labels, dict) and all(str(index) in labels for index in range(len(labels))):
        meaning["labels"] = [str(labels[str(index)]) for index in range(len(labels))]
    return meaning
