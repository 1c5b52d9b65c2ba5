"""Items of token ids whose batches hold items of similar length."""

import numpy as np
from fairseq.data import FairseqDataset
from numpy.typing import NDArray
from torch import Tensor


class LengthOrderedDataset(FairseqDataset):
    """Items with their numbers.

    Args:
        tokens: items are token ids ``(length,)``
        shuffle_seed: order of items of equal length
    """

    can_reuse_epoch_itr_across_epochs = True  # sizes do not change from epoch to epoch

    def __init__(self, tokens: FairseqDataset, shuffle_seed: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.sizes: NDArray[np.int64] = np.asarray(tokens.sizes)
        self.shuffle_seed = shuffle_seed

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        return index, self.tokens[index]

    def num_tokens(self, index: int) -> int:
        return self.sizes[index]

    def num_tokens_vec(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.sizes[indices]

    def size(self, index: int) -> int:
        return self.sizes[index]

    def ordered_indices(self) -> NDArray[np.int64]:
        """By length; items of equal length in an order drawn from the seed."""
        shuffled = np.random.default_rng(self.shuffle_seed).permutation(len(self))
        return np.lexsort([shuffled, self.sizes])

    def batch_by_size(
        self,
        indices: NDArray[np.int64],
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        required_batch_size_multiple: int = 1,
    ) -> list[NDArray[np.int64]]:
        """See :meth:`fairseq.data.FairseqDataset.batch_by_size`.

        That leaves out the last items where they make up no multiple; here they are a batch.
        """
        if not len(indices):
            return []
        batches = super().batch_by_size(indices, max_tokens, max_sentences, required_batch_size_multiple)
        last = indices[sum(map(len, batches)) :]
        return [*batches, last] if len(last) else list(batches)
