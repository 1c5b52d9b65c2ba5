"""Dynamic masking for a whole batch at once, a pure function of (seed, epoch, sample id, position).

Randomness comes from hashing those counters, not from a generator with a state: a mask cannot depend on the
batch that a sample fell in, on the worker that drew it, on the number of processes or on a resume.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
ORDER, REPLACEMENT, RANDOM_TOKEN, BUDGET, LAST_WORD = range(5)
"""Independent streams of random numbers."""


def counter_uniform(
    seed: int, epoch: int, stream: int, sample_ids: NDArray[np.int64], positions: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Uniform numbers in (0, 1), one for each pair of a sample id and a position.

    Args:
        seed: seed of the run
        epoch: epoch, from 1
        stream: which of several independent numbers of the same position
        sample_ids: of any shape that broadcasts with the positions', such as ``(batch, 1)``
        positions: such as ``(length,)``

    Returns:
        of the shape that both broadcast to, such as ``(batch, length)``
    """
    key = np.zeros(1, np.uint64)
    for counter in (seed, epoch, stream):
        key = _mix(key + (np.array([counter % 2**64], np.uint64) + np.uint64(1)) * GOLDEN_GAMMA)
    rows = _mix(key + (sample_ids.astype(np.uint64) + np.uint64(1)) * GOLDEN_GAMMA)
    hashes = _mix(rows + (positions.astype(np.uint64) + np.uint64(1)) * GOLDEN_GAMMA)
    return ((hashes >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele et al., 2014), a bijection that changes half of the bits on average."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@dataclass(frozen=True)
class MaskingScheme:
    """What is masked, how often, and by what it is replaced.

    Args:
        seed: seed of the run
        mask_prob: fraction of a sample's tokens, specials counted, that is selected
        leave_unmasked_prob: probability that a selected token stays as it is
        random_token_prob: probability that a selected token becomes a random one; the rest become the mask
        mask_index: id of the mask symbol
        padding_index: id of the padding symbol
        maskable: boolean ``(vocab,)``, false for the specials: never selected, never drawn as random token
        weights: ``(vocab,)``, relative odds of selection by symbol; None: equal
        begins_word: boolean ``(vocab,)`` for whole-word masking; None: single tokens
    """

    seed: int
    mask_prob: float
    leave_unmasked_prob: float
    random_token_prob: float
    mask_index: int
    padding_index: int
    maskable: NDArray[np.bool_]
    weights: NDArray[np.float64] | None = None
    begins_word: NDArray[np.bool_] | None = None

    def apply(
        self, tokens: NDArray[np.int64], sample_ids: NDArray[np.int64], epoch: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Mask a padded batch.

        Args:
            tokens: ids ``(batch, length)``, padded on the right
            sample_ids: ``(batch,)``
            epoch: epoch, from 1; a constant keeps the masks fixed

        Returns:
            inputs and targets, both ``(batch, length)``; targets are padding wherever nothing is selected
        """
        selected = self.select(tokens, sample_ids, epoch)
        rows, columns = selected.nonzero()
        originals = tokens[rows, columns]
        fate = counter_uniform(self.seed, epoch, REPLACEMENT, sample_ids[rows], columns)
        draw = counter_uniform(self.seed, epoch, RANDOM_TOKEN, sample_ids[rows], columns)
        candidates = self.maskable.nonzero()[0]
        random_tokens = candidates[(draw * candidates.size).astype(np.int64)]
        changed = np.where(
            fate < self.leave_unmasked_prob,
            originals,
            np.where(fate < self.leave_unmasked_prob + self.random_token_prob, random_tokens, self.mask_index),
        )
        inputs, targets = tokens.copy(), np.full_like(tokens, self.padding_index)
        inputs[rows, columns] = changed
        targets[rows, columns] = originals
        return inputs, targets

    def select(self, tokens: NDArray[np.int64], sample_ids: NDArray[np.int64], epoch: int) -> NDArray[np.bool_]:
        """Choose positions without replacement: boolean ``(batch, length)``.

        Each sample has a budget of ``mask_prob`` times its tokens, rounded up or down at random so that the rate is
        exact on average. Units (tokens or words) are taken in order of ``-log(u) / weight``, which draws them in
        proportion to their weights (Efraimidis and Spirakis, 2006). The word that crosses the budget is taken with
        the probability that keeps the rate.
        """
        eligible = self.maskable[tokens]
        sizes, rounding = self._sizes(tokens, sample_ids, epoch)
        budget = np.floor(self.mask_prob * sizes + rounding)
        keys = self._keys(tokens, sample_ids, epoch)
        if self.begins_word is None:
            keys[~eligible] = np.inf
            limits = np.take_along_axis(np.sort(keys, axis=1), np.maximum(budget.astype(np.int64) - 1, 0), axis=1)
            return eligible & (keys <= limits) & (budget > 0)
        return eligible & (self._word_places(tokens, eligible, keys, sample_ids, epoch) < budget)

    def lowest_rates(self, tokens: NDArray[np.int64], sample_ids: NDArray[np.int64], epoch: int) -> NDArray[np.float64]:
        """The ``mask_prob`` from which on each position is selected: ``(batch, length)``, infinite where never.

        What is selected at a rate is selected at any higher rate, too, and replaced by the same.
        """
        eligible = self.maskable[tokens]
        sizes, rounding = self._sizes(tokens, sample_ids, epoch)
        keys = self._keys(tokens, sample_ids, epoch)
        if self.begins_word is None:
            places = _ranks(np.where(eligible, keys, np.inf))
        else:
            places = self._word_places(tokens, eligible, keys, sample_ids, epoch)
        return np.where(eligible, (np.floor(places) + 1 - rounding) / sizes, np.inf)

    def _sizes(
        self, tokens: NDArray[np.int64], sample_ids: NDArray[np.int64], epoch: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Tokens of each sample, and what is added to its share of them before it is rounded down: ``(batch, 1)``."""
        rounding = counter_uniform(self.seed, epoch, BUDGET, sample_ids, np.zeros(1, np.int64))
        return (tokens != self.padding_index).sum(1)[:, None], rounding[:, None]

    def _keys(self, tokens: NDArray[np.int64], sample_ids: NDArray[np.int64], epoch: int) -> NDArray[np.float64]:
        keys = -np.log(self._uniform(ORDER, tokens, sample_ids, epoch))
        if self.weights is not None:
            keys /= self.weights[tokens]
        return keys

    def _word_places(
        self,
        tokens: NDArray[np.int64],
        eligible: NDArray[np.bool_],
        keys: NDArray[np.float64],
        sample_ids: NDArray[np.int64],
        epoch: int,
    ) -> NDArray[np.float64]:
        """What the budget must be above for each position's word to be taken."""
        starts = word_starts(self.begins_word[tokens], eligible)
        word_keys = np.where(eligible, np.take_along_axis(keys, starts, axis=1), np.inf)
        tokens_before = np.take_along_axis(_ranks(word_keys), starts, axis=1)
        flat_starts = starts + np.arange(len(tokens))[:, None] * tokens.shape[1]
        word_sizes = np.bincount(flat_starts[eligible], minlength=tokens.size)[flat_starts]
        draw = np.take_along_axis(self._uniform(LAST_WORD, tokens, sample_ids, epoch), starts, axis=1)
        return tokens_before + draw * word_sizes

    def _uniform(
        self, stream: int, tokens: NDArray[np.int64], sample_ids: NDArray[np.int64], epoch: int
    ) -> NDArray[np.float64]:
        return counter_uniform(self.seed, epoch, stream, sample_ids[:, None], np.arange(tokens.shape[1]))


def _ranks(keys: NDArray[np.float64]) -> NDArray[np.int64]:
    """Of each key in its row ``(batch, length)``, from 0; equal keys in their order."""
    order = np.argsort(keys, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(keys.shape[1]), keys.shape), axis=1)
    return ranks


def word_starts(begins_word: NDArray[np.bool_], eligible: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Position of the first token of each token's word: ``(batch, length)``.

    A word also begins after a special token and at the start of a sample, where a block may cut it.
    """
    after_special = np.ones_like(eligible)
    after_special[:, 1:] = ~eligible[:, :-1]
    is_start = begins_word | after_special | ~eligible
    positions = np.arange(eligible.shape[1])
    return np.maximum.accumulate(np.where(is_start, positions, 0), axis=1)


def smoothed_weights(counts: NDArray[np.int64], smoothing: float) -> NDArray[np.float64]:
    """Odds ``max(count, 1)^-smoothing`` of selecting a symbol: rare words more often (DistilBERT and XLM: 0.7)."""
    return np.maximum(counts, 1).astype(np.float64) ** -smoothing
