"""Which characters of a text a token stands for."""

from collections.abc import Sequence
from itertools import pairwise

Offsets = list[tuple[int, int]]
"""Of each token the first character and the one after the last, as Python counts characters."""


def tight_offsets(text: str, offsets: Sequence[tuple[int, int]]) -> Offsets:
    """Offsets without white space at their ends, and with the characters after a token that no token has.

    Tokenisers differ in both: some count the space before a word, and those that strip accents leave out combining
    ones. A token of white space alone is empty, at its end; the tokens of one character all have that character.

    Args:
        text: what was tokenised
        offsets: as the tokeniser gives them, in the order of the text
    """
    tight = []
    for (begin, end), (next_begin, _) in pairwise([*offsets, (len(text), len(text))]):
        while end < next_begin and not text[end].isspace():
            end += 1
        while begin < end and text[begin].isspace():
            begin += 1
        while begin < end and text[end - 1].isspace():
            end -= 1
        tight.append((begin, end))
    return tight
