"""A fairseq dataset that masks when it collates."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from fairseq.data import FairseqDataset
from torch import Tensor

from fairseq_distil.losses import TokenPositions

from .length_ordered_dataset import LengthOrderedDataset
from .mask_thinning import LOWEST_RATES
from .masking import MaskingScheme

ITEMS = "items"


class MaskedLMDataset(LengthOrderedDataset):
    """Blocks of tokens with masks that change with the epoch.

    Without a call to :meth:`set_epoch`, as for validation, the masks stay those of epoch 1. They may repeat, so that
    what depends on them can be stored; batches then tell which ones they have.

    Args:
        blocks: items are token ids ``(length,)``
        scheme: how to mask
        shuffle_seed: order of items of equal length; batches hold items of similar length
        require_valid: raises an error unless all ids of a batch are in the vocabulary; None: they are known to be
        is_to_be_thinned: whether batches tell what :func:`thinned` needs
        repeat_masks_after: epochs; None: never
    """

    def __init__(
        self,
        blocks: FairseqDataset,
        scheme: MaskingScheme,
        shuffle_seed: int,
        require_valid: Callable[[np.ndarray], None] | None = None,
        is_to_be_thinned: bool = False,
        repeat_masks_after: int | None = None,
    ) -> None:
        super().__init__(blocks, shuffle_seed)
        self.scheme = scheme
        self.require_valid = require_valid
        self.is_to_be_thinned = is_to_be_thinned
        self.repeat_masks_after = repeat_masks_after
        self.epoch = 1

    @property
    def mask_epoch(self) -> int:
        """The first epoch with the masks of the present one."""
        return self.epoch if self.repeat_masks_after is None else (self.epoch - 1) % self.repeat_masks_after + 1

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.epoch = epoch

    @property
    def supports_prefetch(self) -> bool:
        return getattr(self.tokens, "supports_prefetch", False)

    def prefetch(self, indices: list[int]) -> None:
        self.tokens.prefetch(indices)

    def collater(self, samples: list[tuple[int, Tensor]]) -> dict[str, Any]:
        """Pad and mask a batch.

        Returns:
            What fairseq's masked-LM criterion reads: ``net_input`` with ``src_tokens`` ``(batch, length)``,
            ``src_lengths`` ``(batch,)``, ``has_padding`` and ``token_count``; ``target`` ``(batch, length)``; and the
            counts. Besides, ``positions``, the :class:`TokenPositions`, found here so that the model's device need not
            be asked; ``lowest_rates`` if they are to be thinned; and if masks repeat, the
            ``mask_epoch``, and the ids once more as a numpy array, which stays with the processor.

        Raises:
            UserError: an id is beyond the vocabulary
        """
        batch = self._masked(samples) if samples else self._batch_of_nothing()
        if self.repeat_masks_after is None:
            return batch
        # A data worker moves a tensor's memory to send it, from under an array that shares it.
        return batch | {"mask_epoch": self.mask_epoch, ITEMS: batch["id"].numpy().copy()}

    def _masked(self, samples: list[tuple[int, Tensor]]) -> dict[str, Any]:
        ids = np.fromiter((index for index, _ in samples), np.int64, len(samples))
        lengths = self.sizes[ids]
        padding_index = self.scheme.padding_index
        blocks = [block for _, block in samples]
        has_padding = bool(lengths.min() < lengths.max())
        if has_padding:
            tokens = torch.nn.utils.rnn.pad_sequence(blocks, batch_first=True, padding_value=padding_index)
        else:
            tokens = torch.stack(blocks)
        if self.require_valid is not None:
            self.require_valid(tokens.numpy())
        inputs, targets = map(torch.from_numpy, self.scheme.apply(tokens.numpy(), ids, self.mask_epoch))
        positions = TokenPositions.of(inputs, targets, padding_index)
        batch = {
            "id": torch.from_numpy(ids),
            "nsentences": len(samples),
            "ntokens": int(lengths.sum()),
            "net_input": {
                "src_tokens": inputs,
                "src_lengths": torch.from_numpy(lengths.astype(np.int64)),
                "has_padding": has_padding,
                "token_count": sum(map(len, positions)),
            },
            "target": targets,
            "positions": positions._asdict(),
        }
        if self.is_to_be_thinned:
            rates = self.scheme.lowest_rates(tokens.numpy(), ids, self.mask_epoch)
            batch[LOWEST_RATES] = rates[targets.numpy() != padding_index]
        return batch

    def _batch_of_nothing(self) -> dict[str, Any]:
        """What a worker gets when an epoch's batches do not divide evenly: one token, of padding, that counts nowhere.

        For an empty batch fairseq's trainer would repeat another one and then discard the worker's whole update, with
        the micro-batches before it, whose gradients are in the sum nevertheless.
        """
        nothing = torch.full((1, 1), self.scheme.padding_index)
        batch = {
            "id": torch.zeros(0, dtype=torch.int64),
            "nsentences": 0,
            "ntokens": 0,
            "net_input": {
                "src_tokens": nothing,
                "src_lengths": torch.zeros(1, dtype=torch.int64),
                "has_padding": False,
                "token_count": 0,
            },
            "target": nothing.clone(),
            "positions": TokenPositions.of(nothing, nothing, self.scheme.padding_index)._asdict(),
        }
        if self.is_to_be_thinned:
            batch[LOWEST_RATES] = np.zeros(0)
        return batch
