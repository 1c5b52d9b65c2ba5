"""Which tokens of a batch the terms are summed over."""

from typing import NamedTuple

from torch import Tensor


class TokenPositions(NamedTuple):
    """Positions in the flattened batch: every token that is not padding is in exactly one of the two.

    Their lengths are known on the host, so that counting tokens needs no device synchronisation.
    """

    masked: Tensor
    """``(masked tokens,)``: selected for prediction, whether replaced by the mask, a random token or left as it is."""

    unmasked: Tensor
    """``(other tokens,)``: all the rest, specials included."""

    @classmethod
    def of(cls, source_tokens: Tensor, targets: Tensor, padding_index: int) -> "TokenPositions":
        """Find the positions in ``source_tokens`` and ``targets``, both ``(batch, length)``.

        Targets are the padding symbol wherever nothing is to be predicted.
        """
        is_masked = targets.flatten().ne(padding_index)
        is_unmasked = source_tokens.flatten().ne(padding_index) & ~is_masked
        return cls(is_masked.nonzero().squeeze(1), is_unmasked.nonzero().squeeze(1))
