"""Samples that are longer than a model's positions."""

from typing import Any, Optional

import numpy as np
from fairseq.data import FairseqDataset

from fairseq_distil.errors import UserError


class LengthLimit:
    """Comes before a fairseq task among the bases of a class with a ``cfg.data``."""

    TOO_LONG: str
    """What is too long and what to do, a template for ``max_positions``."""

    def filter_indices_by_size(
        self,
        indices: np.ndarray,
        dataset: FairseqDataset,
        max_positions: Optional[Any] = None,
        ignore_invalid_inputs: bool = False,
    ) -> np.ndarray:
        """Leave out the samples that are longer than the model's positions.

        Raises:
            UserError: there are some, and they are not to be left out; or no sample remains
        """
        kept = super().filter_indices_by_size(indices, dataset, max_positions, ignore_invalid_inputs=True)
        too_long = len(indices) - len(kept)
        if (too_long and not ignore_invalid_inputs) or len(kept) == 0:
            advice = self.TOO_LONG.format(max_positions=max_positions)
            raise UserError(f"data {self.cfg.data}: {too_long:,} of {len(indices):,} {advice}")
        return kept
