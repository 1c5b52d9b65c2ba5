"""Any checkpoint that can be a teacher, as one of this plugin."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fairseq.data import Dictionary

from fairseq_distil.checkpoints.import_fairseq_roberta import import_fairseq_roberta, is_fairseq_roberta
from fairseq_distil.checkpoints.import_transformers import import_transformers
from fairseq_distil.checkpoints.safe_loading import load_safely
from fairseq_distil.data.dictionary_check import MASK_SYMBOL, load_dictionary
from fairseq_distil.data.tokenizers import SETTINGS_FILE, load_tokenizer
from fairseq_distil.errors import UserError


def import_checkpoint(source: Path, dictionary_file: Path | None = None, data: Path | None = None) -> dict[str, Any]:
    """Convert a directory of transformers or a fairseq RoBERTa.

    Args:
        source: the directory, or the checkpoint with its ``dict.txt`` beside it
        dictionary_file: a ``dict.txt`` to whose order the vocabulary is brought; by default the source's own
        data: or a directory of prepared data, with its ``dict.txt`` and tokeniser

    Raises:
        UserError: the source cannot be converted, or its vocabulary is not the dictionary's
    """
    file = data / "dict.txt" if data else dictionary_file
    symbols = None if file is None else read_dictionary(file).symbols
    if source.is_dir():
        return import_transformers(source, symbols, piece_names(data))
    if not source.is_file():
        raise UserError(f"{source}: no such file or directory")
    state = load_safely(source)
    if not is_fairseq_roberta(state):
        raise UserError(f"{source}: not a fairseq RoBERTa; a checkpoint of this plugin needs no import")
    return import_fairseq_roberta(str(source), state, symbols)


def piece_names(data: Path | None) -> Callable[[str], str]:
    """What the tokeniser of prepared data calls a symbol; the symbol itself, where there is no tokeniser."""
    if data is None or not (data / SETTINGS_FILE).is_file():
        return str
    return load_tokenizer(data).piece_of


def read_dictionary(path: Path) -> Dictionary:
    """A ``dict.txt`` with the mask appended, as the tasks do.

    Raises:
        UserError: it is missing or not a fairseq dictionary
    """
    dictionary = load_dictionary(str(path))
    dictionary.add_symbol(MASK_SYMBOL)
    return dictionary
