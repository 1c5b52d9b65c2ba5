"""Whether two dictionaries give every id the same meaning."""

import os
from itertools import zip_longest

from fairseq.data import Dictionary

from fairseq_distil.errors import UserError

MASK_SYMBOL = "<mask>"


def symbols_beside(checkpoint_path: str) -> list[str] | None:
    """Symbols of the ``dict.txt`` in the checkpoint's folder, the mask appended as the tasks do; None without one."""
    path = os.path.join(os.path.dirname(os.path.abspath(checkpoint_path)), "dict.txt")
    if not os.path.isfile(path):
        return None
    dictionary = Dictionary.load(path)
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
