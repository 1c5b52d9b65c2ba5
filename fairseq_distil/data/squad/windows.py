"""Cutting a context into overlapping windows, and finding an answer's tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

from fairseq_distil.errors import UserError

SPECIAL_TOKENS = 3
"""``<s> question </s> context </s>``"""


@dataclass(frozen=True)
class WindowSizes:
    """Sizes in tokens.

    Args:
        length: of a window, question and specials included
        stride: from the beginning of one window in the context to that of the next
        question_length: after which a question is cut off

    Raises:
        UserError: a size is not positive, or a window has no room for a context
    """

    length: int = 384
    stride: int = 128
    question_length: int = 64

    def __post_init__(self) -> None:
        for name in ("length", "stride", "question_length"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name.replace('_', '-')} is {getattr(self, name)}, but must be positive")
        if self.room(self.question_length) < 1:
            raise UserError(
                f"--length is {self.length}: no room for a context beside a question of {self.question_length} tokens "
                f"and {SPECIAL_TOKENS} specials; raise it, or lower --question-length"
            )

    def room(self, question_tokens: int) -> int:
        """Tokens of the context that fit beside a question."""
        return self.length - SPECIAL_TOKENS - min(question_tokens, self.question_length)


def window_ranges(context_tokens: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Context tokens ``[begin, end)`` of each window: all of ``room`` tokens but the last, and together all tokens.

    A stride larger than ``room`` would skip tokens, and is ``room``.
    """
    ranges = []
    begin = 0
    while True:
        end = min(begin + room, context_tokens)
        ranges.append((begin, end))
        if end == context_tokens:
            return ranges
        begin += min(stride, room)


def tokens_of_characters(offsets: Sequence[tuple[int, int]], begin: int, end: int) -> tuple[int, int] | None:
    """First and last token of the fewest that hold the characters ``[begin, end)``; None where no token has any.

    Args:
        offsets: of each token its characters, see :func:`~fairseq_distil.data.tokenizers.offsets.tight_offsets`
        begin: first character
        end: the character after the last
    """
    inside = [token for token, (first, last) in enumerate(offsets) if first < end and last > begin]
    return (inside[0], inside[-1]) if inside else None
