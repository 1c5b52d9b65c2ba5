"""Gradients of a projection on the vocabulary, of which a chunk of rows comes after the other."""

import torch
from torch import Tensor

from .vocabulary_projection import VocabularyProjection


class GradientSums:
    """Gradients of features, weight and bias, those that are needed, from the gradients of logits.

    Args:
        features, weight, bias: see :class:`VocabularyProjection`
        needed: which of them need a gradient
        unit: of the logits' gradients, see :meth:`TermScales.gradient_unit`
    """

    def __init__(
        self, features: Tensor, weight: Tensor, bias: Tensor, needed: tuple[bool, bool, bool], unit: float
    ) -> None:
        self.are_needed = any(needed)
        self.unit = unit
        self.features = torch.empty_like(features) if needed[0] else None
        self.dtype = weight.dtype
        sums = {"dtype": torch.promote_types(weight.dtype, torch.float32)}
        self.weight = torch.empty_like(weight, **sums) if needed[1] else None
        self.bias = torch.zeros_like(bias, **sums) if needed[2] else None
        self.weight_is_empty = True

    def add_tile(self, logits_gradient: Tensor) -> None:
        """Take in a tile ``(rows, vocab)``."""
        if self.bias is not None:
            self.bias += logits_gradient.sum(0, dtype=torch.promote_types(logits_gradient.dtype, torch.float32))

    def add_chunk(self, rows: slice, logits_gradient: Tensor, student: VocabularyProjection) -> None:
        """Take in the rows ``rows`` of the batch, in the type of the products, with the padding of ``student``."""
        if self.features is not None:
            self.features[rows] = (logits_gradient @ student.weight).mul_(self.unit)
        if self.weight is not None:
            self._add_to_weight(logits_gradient.T, student.features[rows])

    def _add_to_weight(self, left: Tensor, right: Tensor) -> None:
        words = slice(self.weight.size(0))
        if left.dtype == self.weight.dtype:  # the sum comes with the product
            self.weight.addmm_(left[words], right, beta=0 if self.weight_is_empty else 1, alpha=self.unit)
        else:
            product = (left @ right)[words]
            if self.weight_is_empty:
                torch.mul(product, self.unit, out=self.weight)
            else:
                self.weight.add_(product, alpha=self.unit)
        self.weight_is_empty = False

    def finished(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The gradients."""
        if self.weight is not None and self.weight_is_empty:
            self.weight.zero_()
        if self.bias is not None:
            self.bias *= self.unit
        sums = (None if total is None else total.to(self.dtype) for total in (self.weight, self.bias))
        return self.features, *sums
