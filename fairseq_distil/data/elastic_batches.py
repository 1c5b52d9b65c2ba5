"""A position within an epoch that does not depend on the number of workers or the size of batches."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from fairseq.data import data_utils
from fairseq.data.iterators import CountingIterator, EpochBatchIterator, ShardedIterator
from numpy.typing import NDArray

from fairseq_distil.errors import UserError

SEEN = "seen_samples"
"""Key of the position in a checkpoint: a bit for each sample, eight a byte, set for those that the epoch has had."""
GROUPED_WITHOUT = "grouped_without"
"""The same for those that it had had when the others were put into new batches; not there if they never were."""

Batches = list[NDArray[np.int64]]


class ElasticBatchIterator(EpochBatchIterator):
    """fairseq's iterator over epochs, which remembers the samples that an epoch has had.

    fairseq remembers how many batches each worker has had, which with other workers or batches is another position:
    samples would be left out or come twice. Here an epoch goes on with its other samples. Where the batches are of
    the same size, they and their order are those of a run that was not interrupted; where not, the other samples are
    put into new ones, which stay as they are however often the run is stopped, until their size changes again.

    Args:
        iterator: fairseq's, which has not begun
        make_batches: puts sorted samples into batches
        update_freq: batches that a worker accumulates for an update, of the first epochs; the last, of all others
    """

    def __init__(
        self,
        iterator: EpochBatchIterator,
        make_batches: Callable[[NDArray[np.int64]], Batches],
        update_freq: Sequence[int],
    ) -> None:
        super().__init__(
            dataset=iterator.dataset,
            collate_fn=iterator.collate_fn,
            batch_sampler=iterator.batch_sampler,
            seed=iterator.seed,
            num_shards=iterator.num_shards,
            shard_id=iterator.shard_id,
            num_workers=iterator.num_workers,
            epoch=iterator.epoch,
            buffer_size=iterator.buffer_size,
            timeout=iterator.timeout,
            disable_shuffling=iterator.disable_shuffling,
            skip_remainder_batch=iterator.skip_remainder_batch,
            grouped_shuffling=iterator.grouped_shuffling,
            reuse_dataloader=iterator.reuse_dataloader,
            persistent_workers=iterator.persistent_workers,
        )
        self._make_batches = make_batches
        self._update_freq = update_freq
        self._seen = np.zeros(len(self.dataset), dtype=bool)  # before the run was resumed
        self._grouped_without = self._seen.copy()
        self._rest: Batches = []  # of all workers, after that
        self._iterations_before = 0

    def next_epoch_itr(self, *arguments: Any, **settings: Any) -> CountingIterator:
        if self._next_epoch_itr is None:  # it was not resumed within an epoch
            self._seen[:] = self._grouped_without[:] = False
            self._iterations_before = 0
        return super().next_epoch_itr(*arguments, **settings)

    def ordered_batches(self, epoch: int, fix_batches_to_gpus: bool, shuffle: bool) -> Batches:
        """This worker's batches of what remains of an epoch; all workers go through those of all in turn."""
        self._rest = self._remaining(epoch, shuffle)
        return list(ShardedIterator(self._rest, self.num_shards, self.shard_id, fill_value=[]))

    def state_dict(self) -> dict[str, Any]:
        """The position, for a checkpoint."""
        state = super().state_dict()
        if state["epoch"] == self.epoch:
            seen = self._seen.copy()
            done = self._rest[: (self.iterations_in_epoch - self._iterations_before) * self.num_shards]
            seen[np.concatenate([[], *done]).astype(np.int64)] = True
            state |= {"samples": len(seen), SEEN: _packed(seen)}
            if self._grouped_without.any():
                state[GROUPED_WITHOUT] = _packed(self._grouped_without)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on at a checkpoint's position.

        Raises:
            UserError: it is within an epoch of other data, or at its end
        """
        if SEEN not in state:  # the beginning of an epoch, or fairseq's own position
            super().load_state_dict(state)
            return
        if state["samples"] != len(self.dataset):
            raise UserError(
                f"the checkpoint is in the middle of an epoch of {state['samples']:,} samples, but the training data "
                f"are {len(self.dataset):,}; give the same data, --tokens-per-sample and --sample-break-mode, or begin "
                "an epoch with --reset-dataloader (checkpoint.reset_dataloader)"
            )
        self._seen = _unpacked(state[SEEN], state["samples"])
        self._grouped_without = np.zeros_like(self._seen)
        if GROUPED_WITHOUT in state:
            self._grouped_without = _unpacked(state[GROUPED_WITHOUT], state["samples"])
        self.epoch = state["epoch"]
        self._next_epoch_itr = self._get_iterator_for_epoch(self.epoch, state["shuffle"])
        if not self._rest:
            raise UserError(
                "the checkpoint is in the middle of an epoch of which no sample is left; begin another with "
                "--reset-dataloader (checkpoint.reset_dataloader)"
            )
        # Whole updates: fairseq would round others in a way that loses the end of the epoch.
        update_freq = self._update_freq[min(self.epoch, len(self._update_freq)) - 1]
        done = len(self.frozen_batches) - len(self._rest)
        self._iterations_before = done // (self.num_shards * update_freq) * update_freq
        self._next_epoch_itr.n += self._iterations_before
        self._next_epoch_itr.total += self._iterations_before

    def _remaining(self, epoch: int, shuffle: bool) -> Batches:
        batches = self._ordered(self._batches_without(self._grouped_without), epoch, shuffle)
        if not batches or not self._seen.any():
            return batches
        sizes = np.fromiter(map(len, batches), np.int64, len(batches))
        seen = np.add.reduceat(self._seen[np.concatenate(batches)], np.cumsum(sizes) - sizes, dtype=np.int64)
        if np.all((seen == 0) | (seen == sizes)):
            return [batch for batch, count in zip(batches, seen, strict=True) if count == 0]
        self._grouped_without = self._seen.copy()
        return self._ordered(self._batches_without(self._seen), epoch, shuffle)

    def _batches_without(self, left_out: NDArray[np.bool_]) -> Sequence[NDArray[np.int64]]:
        if not left_out.any():
            return self.frozen_batches
        samples = np.concatenate(self.frozen_batches)
        others = samples[~left_out[samples]]
        return self._make_batches(others) if len(others) else []

    def _ordered(self, batches: Sequence[NDArray[np.int64]], epoch: int, shuffle: bool) -> Batches:
        """In the order that fairseq gives them, and after them those that it leaves out, for they make no group."""
        if not shuffle:
            return list(batches)
        size = self.num_shards if self.grouped_shuffling else 1
        whole = len(batches) - len(batches) % size
        groups = [batches[first : first + size] for first in range(0, whole, size)]
        with data_utils.numpy_seed(self.seed + epoch):
            np.random.shuffle(groups)
        return [batch for group in (*groups, batches[whole:]) for batch in group]


def _packed(samples: NDArray[np.bool_]) -> torch.Tensor:
    return torch.from_numpy(np.packbits(samples))


def _unpacked(bits: torch.Tensor, count: int) -> NDArray[np.bool_]:
    return np.unpackbits(bits.numpy(), count=count).astype(bool)
