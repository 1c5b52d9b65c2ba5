"""The fairseq dictionary that belongs to a tokeniser."""

from pathlib import Path

from fairseq.data import Dictionary

from fairseq_distil.data.dictionary_check import load_dictionary
from fairseq_distil.data.tokenizers.base import SPECIAL_SYMBOLS, Tokenizer
from fairseq_distil.errors import UserError

# What fairseq fills dictionaries up with, to a multiple of 8.
FILLER_PREFIX = "madeupword"


def build_dictionary(tokenizer: Tokenizer, order_file: Path | None = None) -> Dictionary:
    """A dictionary of the tokeniser's symbols, all with count 0; ``<mask>`` is left for the task to append.

    Args:
        tokenizer: whose symbols, in its own order
        order_file: a ``dict.txt`` to take symbols and order from instead

    Raises:
        UserError: the given dictionary is malformed or belongs to another tokeniser, or a symbol cannot
            stand in a ``dict.txt``
    """
    symbols = tokenizer.symbols if order_file is None else _read_order(order_file, tokenizer)
    dictionary = Dictionary()
    for symbol in symbols:
        if "\n" in symbol or "\r" in symbol:
            raise UserError(f"the tokeniser's symbol {symbol!r} holds a line end, which dict.txt cannot; remove it")
        dictionary.add_symbol(symbol, n=0)
    return dictionary


def _read_order(path: Path, tokenizer: Tokenizer) -> list[str]:
    dictionary = load_dictionary(str(path))
    symbols = dictionary.symbols[dictionary.nspecial :]
    known = set(tokenizer.symbols)
    for symbol in symbols:
        if symbol in SPECIAL_SYMBOLS:
            raise UserError(f"{path}: holds {symbol}, which the task appends itself; remove that line")
        if symbol not in known and not symbol.startswith(FILLER_PREFIX):
            raise UserError(f"{path}: the tokeniser has no symbol {symbol!r}; give the dictionary of this tokeniser")
    return symbols
