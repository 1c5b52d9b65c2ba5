"""How many tokens of each text fit into a sample."""

from collections.abc import Sequence


def fitting_lengths(lengths: Sequence[int], room: int) -> list[int]:
    """Lengths that together take at most ``room``: of a pair the longer text is cut, and both where they must be.

    As ``longest_first`` of the ``tokenizers`` library does, so that a model meets what its exported tokeniser gives.

    Args:
        lengths: tokens of one text, or of two
        room: tokens, special ones not counted
    """
    if sum(lengths) <= room:
        return list(lengths)
    if len(lengths) == 1:
        return [room]
    first, second = lengths
    shorter = min(first, second, room // 2)
    longer = room - shorter
    return [longer, shorter] if first > second else [shorter, longer]
