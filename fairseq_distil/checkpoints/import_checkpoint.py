"""Any checkpoint that can be a teacher, as one of this plugin."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fairseq import checkpoint_utils
from fairseq.data import Dictionary

from fairseq_distil.checkpoints.import_fairseq_roberta import import_fairseq_roberta, is_fairseq_roberta
from fairseq_distil.checkpoints.import_transformers import import_transformers
from fairseq_distil.checkpoints.load_errors import explain_load_error
from fairseq_distil.data.dictionary_check import MASK_SYMBOL
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
    try:
        state = checkpoint_utils.load_checkpoint_to_cpu(str(source))
        is_roberta = is_fairseq_roberta(state)
    except Exception as error:  # torch and fairseq raise almost anything on a file of another kind
        raise UserError(f"{source}: {explain_load_error(error)}") from error
    if not is_roberta:
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
    if not os.path.isfile(path):
        raise UserError(f"{path}: no such file; give a fairseq dict.txt")
    try:
        dictionary = Dictionary.load(str(path))
    except Exception as error:  # fairseq raises a bare Exception for a wrong encoding
        raise UserError(f"{path}: not a fairseq dictionary of 'symbol count' lines") from error
    dictionary.add_symbol(MASK_SYMBOL)
    return dictionary
