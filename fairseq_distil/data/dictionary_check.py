"""Whether two dictionaries give every id the same meaning."""

import os
from collections.abc import Sequence
from itertools import zip_longest

from fairseq.data import Dictionary

from fairseq_distil.data.text_files import BYTE_ORDER_MARK
from fairseq_distil.errors import UserError

MASK_SYMBOL = "<mask>"
HIGHEST_COUNT = 2**63 - 1
MOST_CHARACTERS = 1000
"""Of a symbol; those of tokenisers have at most some dozens."""
CONTROL_CHARACTERS = frozenset(map(chr, (*range(32), 127, 0x90, 0x98, 0x9B, 0x9D, 0x9E, 0x9F)))
"""Those of ASCII, and those that begin a terminal's commands without it; others are in text of the web."""


def load_dictionary(path: str) -> Dictionary:
    """A ``dict.txt`` as it is.

    Raises:
        UserError: it is missing or not a fairseq dictionary
    """
    if not os.path.isfile(path):
        raise UserError(f"{path}: no such file; give a fairseq dict.txt")
    try:
        dictionary = Dictionary.load(path)
    except Exception as error:  # fairseq raises a bare Exception for a wrong encoding
        raise UserError(f"{path}: not a fairseq dictionary of 'symbol count' lines: {error}") from error
    for symbol, count in zip(dictionary.symbols, dictionary.count, strict=True):
        if not 0 <= count <= HIGHEST_COUNT:
            raise UserError(f"{path}: not a fairseq dictionary: the count of {symbol!r} is {count}")
        if not 0 < len(symbol) <= MOST_CHARACTERS or not CONTROL_CHARACTERS.isdisjoint(symbol):
            raise UserError(
                f"{path}: not a fairseq dictionary: a symbol has 1 to {MOST_CHARACTERS:,} characters, none of which "
                f"commands a terminal; found {symbol!r}"
            )
    _require_distinct(path, dictionary)
    if dictionary[dictionary.nspecial].startswith(BYTE_ORDER_MARK):  # or <unk>, where there are special ones alone
        raise UserError(f"{path}: begins with a byte order mark, which would be part of the first symbol; remove it")
    return dictionary


def _require_distinct(path: str, dictionary: Dictionary) -> None:
    """A line may ask fairseq to have its symbol twice, also a special one, of which the task knows the first place."""
    for index, symbol in enumerate(dictionary.symbols):
        if dictionary.index(symbol) != index:
            raise UserError(
                f"{path}: not a fairseq dictionary: {symbol!r} is there twice, as ids {index} and "
                f"{dictionary.index(symbol)}; leave one of them, and prepare the data with that"
            )


def symbols_beside(checkpoint_path: str) -> list[str] | None:
    """Symbols of the ``dict.txt`` in the checkpoint's folder, the mask appended as the tasks do; None without one.

    Raises:
        UserError: it is not a fairseq dictionary
    """
    path = os.path.join(os.path.dirname(os.path.abspath(checkpoint_path)), "dict.txt")
    if not os.path.isfile(path):
        return None
    dictionary = load_dictionary(path)
    dictionary.add_symbol(MASK_SYMBOL)
    return dictionary.symbols


def require_same_symbols(first_name: str, first: list[str], second_name: str, second: list[str]) -> None:
    """Compare two lists of symbols in the order of their ids.

    Raises:
        UserError: they differ; names the first difference
    """
    for index, (first_symbol, second_symbol) in enumerate(zip_longest(first, second)):
        if first_symbol != second_symbol:
            raise UserError(
                f"{first_name} has another dictionary than {second_name}: {len(first):,} and {len(second):,} symbols, "
                f"and id {index} is {first_symbol!r} in the first, {second_symbol!r} in the second; "
                "prepare the data with the same tokeniser and dictionary"
            )


def load_shared_dictionary(directories: Sequence[str]) -> Dictionary:
    """Read ``dict.txt`` of the first data directory, and see that the others are there and have none that differs.

    Raises:
        UserError: a directory is missing, or a ``dict.txt`` is, or is not a fairseq dictionary or another one
    """
    first, *others = directories
    dictionary = _load_dictionary(first)
    for directory in others:
        if not os.path.isdir(directory):
            raise UserError(f"data {directory}: no such directory; prepare the data first")
        if os.path.exists(os.path.join(directory, "dict.txt")):
            symbols = _load_dictionary(directory).symbols
            require_same_symbols(f"data {directory}", symbols, f"data {first}", dictionary.symbols)
    return dictionary


def _load_dictionary(directory: str) -> Dictionary:
    path = os.path.join(directory, "dict.txt")
    if not os.path.isfile(path):
        raise UserError(f"data {path}: no such file; prepare the data first, see scripts/prepare_data.py")
    try:
        return load_dictionary(path)
    except UserError as error:
        raise UserError(f"data {error}") from error
