"""What makes logits of features."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class VocabularyProjection(NamedTuple):
    """What is projected on the vocabulary."""

    features: Tensor
    """``(rows, width)``"""
    weight: Tensor
    """``(vocab, width)``"""
    bias: Tensor
    """``(vocab,)``"""

    def logits(self) -> Tensor:
        """``features @ weight.T + bias``: ``(rows, vocab)``."""
        return F.linear(self.features, self.weight, self.bias)

    def to(self, dtype: torch.dtype) -> "VocabularyProjection":
        """The same in another floating-point type."""
        return VocabularyProjection(*(tensor.to(dtype) for tensor in self))

    def padded(self, words: int) -> "VocabularyProjection":
        """The same with logits of 0 for words beyond the vocabulary, so that there are ``words`` of them."""
        missing = words - self.weight.size(0)
        if missing == 0:
            return self
        return self._replace(weight=F.pad(self.weight, (0, 0, 0, missing)), bias=F.pad(self.bias, (0, missing)))
