"""A fairseq dataset of windows with the positions of their answers."""

from typing import Any

import numpy as np
import torch
from fairseq.data import FairseqDataset
from fairseq.data.indexed_dataset import MMapIndexedDataset
from torch import Tensor

from fairseq_distil.data.binarized_check import require_whole_split
from fairseq_distil.data.length_ordered_dataset import LengthOrderedDataset
from fairseq_distil.data.squad.split import PreparedSplit
from fairseq_distil.losses import UNKNOWN_POSITION


class QuestionAnsweringDataset(LengthOrderedDataset):
    """Windows ``<s> question </s> context </s>``.

    Args:
        tokens: items are token ids ``(length,)``
        split: tables of the same windows
        name: of the split, which batches carry
        padding_index: id of the padding
        shuffle_seed: order of windows of equal length; batches hold windows of similar length
    """

    def __init__(
        self, tokens: FairseqDataset, split: PreparedSplit, name: str, padding_index: int, shuffle_seed: int
    ) -> None:
        super().__init__(tokens, shuffle_seed)
        self.split = split
        self.name = name
        self.padding_index = padding_index

    def collater(self, samples: list[tuple[int, Tensor]]) -> dict[str, Any]:
        """Pad a batch.

        Returns:
            ``id`` and ``context_starts`` ``(windows,)``, ``target`` ``(windows, 2)``, the positions of the answer's
            first and last token; ``net_input`` with ``src_tokens`` ``(windows, length)``, ``src_lengths``
            ``(windows,)``, ``has_padding`` and ``token_count``; the split's name; and counts, ``answers`` that of
            windows with a loss
        """
        if not samples:
            return self._batch_of_nothing()
        ids = np.fromiter((index for index, _ in samples), np.int64, len(samples))
        rows = torch.from_numpy(self.split.windows[ids].astype(np.int64))
        windows = [window for _, window in samples]
        return self._batch(torch.from_numpy(ids), windows, rows[:, 1], rows[:, 3:])

    def _batch(self, ids: Tensor, windows: list[Tensor], context_starts: Tensor, targets: Tensor) -> dict[str, Any]:
        lengths = torch.tensor([len(window) for window in windows])
        tokens = torch.nn.utils.rnn.pad_sequence(windows, batch_first=True, padding_value=self.padding_index)
        return {
            "id": ids,
            "split": self.name,
            "nsentences": len(ids),
            "ntokens": int(lengths.sum()),
            "answers": int(targets[:, 0].ne(UNKNOWN_POSITION).sum()),
            "context_starts": context_starts,
            "net_input": {
                "src_tokens": tokens,
                "src_lengths": lengths,
                "has_padding": bool(lengths.min() < lengths.max()),
                "token_count": int(tokens.ne(self.padding_index).sum()),
            },
            "target": targets,
        }

    def _batch_of_nothing(self) -> dict[str, Any]:
        """What a worker gets when an epoch's batches do not divide evenly: one window without a loss or a candidate.

        For an empty batch fairseq's trainer would repeat another one and then discard the worker's whole update.
        """
        batch = self._batch(
            torch.zeros(1, dtype=torch.int64),
            [self.tokens[0][:1]],
            context_starts=torch.ones(1, dtype=torch.int64),
            targets=torch.full((1, 2), UNKNOWN_POSITION),
        )
        return batch | {"nsentences": 0, "ntokens": 0}


def load_windows(
    prefix: str, name: str, vocabulary_size: int, padding_index: int, seed: int
) -> QuestionAnsweringDataset:
    """The dataset of a prepared split.

    Args:
        prefix: path of its files without their endings
        name: of the split
        vocabulary_size: symbols in ``dict.txt``
        padding_index: id of the padding
        seed: of the order of windows of equal length

    Raises:
        UserError: a file is missing or damaged, or the files do not belong together
    """
    require_whole_split(prefix, vocabulary_size)
    tokens, split = MMapIndexedDataset(prefix), PreparedSplit(prefix)
    split.require_fit(np.asarray(tokens.sizes))
    return QuestionAnsweringDataset(tokens, split, name, padding_index, seed)
