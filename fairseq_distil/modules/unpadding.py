"""A padded batch without its padding: what works token by token then works on tokens alone."""

from functools import cached_property

import torch.nn.functional as F
from torch import Tensor


class Unpadding:
    """Where the tokens of a batch are among its padding.

    Args:
        padding_mask: boolean ``(batch, length)``, true at padding
        token_count: how many tokens it leaves, where that is known; a GPU would have to be waited for
    """

    def __init__(self, padding_mask: Tensor, token_count: int | None = None) -> None:
        self.is_token = ~padding_mask
        is_token = self.is_token.flatten()
        rows = is_token.nonzero() if token_count is None else is_token.nonzero_static(size=token_count)
        self.rows = rows.squeeze(1)
        """Of the tokens, in the flattened batch."""

    @property
    def length(self) -> int:
        """Of the padded sequences; none has more tokens."""
        return self.is_token.size(1)

    @cached_property
    def sequence_ends(self) -> Tensor:
        """int32 ``(batch + 1,)``: 0, then the number of tokens up to the end of each sequence."""
        ends = self.is_token.sum(1).cumsum(0)
        return F.pad(ends, (1, 0)).int()

    def without_padding(self, padded: Tensor) -> Tensor:
        """Map ``(batch, length, width)`` to ``(tokens, width)``."""
        return padded.flatten(0, 1).index_select(0, self.rows)

    def with_padding(self, tokens: Tensor) -> Tensor:
        """Map ``(tokens, width)`` to ``(batch, length, width)``, zero at padding."""
        padded = tokens.new_zeros(self.is_token.numel(), tokens.size(1)).index_copy_(0, self.rows, tokens)
        return padded.unflatten(0, self.is_token.shape)
