"""Statistics of the masks, and that they are a function of (seed, epoch, sample id, position) alone."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fairseq_distil.data.masking import (
    ORDER,
    REPLACEMENT,
    MaskingScheme,
    counter_uniform,
    smoothed_weights,
    word_starts,
)

PADDING, MASK, VOCABULARY = 1, 46, 47
BOS, EOS = 0, 2
MASKABLE = np.array([4 <= index < MASK for index in range(VOCABULARY)])
SCHEME = MaskingScheme(
    seed=7,
    mask_prob=0.15,
    leave_unmasked_prob=0.1,
    random_token_prob=0.1,
    mask_index=MASK,
    padding_index=PADDING,
    maskable=MASKABLE,
)
BEGINS_WORD = np.array([index % 3 != 0 for index in range(VOCABULARY)])  # a third of the symbols continue a word


def random_batch(samples: int, length: int, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Samples of ``length`` tokens at most, between BOS and EOS, and ids that are not their rows."""
    generator = np.random.default_rng(seed)
    tokens = generator.integers(4, MASK, (samples, length))
    tokens[:, 0] = BOS
    for row, size in enumerate(generator.integers(length // 2, length + 1, samples)):
        tokens[row, size - 1] = EOS
        tokens[row, size:] = PADDING
    return tokens, generator.permutation(10 * samples)[:samples]


@pytest.fixture(scope="module")
def large_batch() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    tokens, ids = random_batch(1100, 127)
    assert (tokens != PADDING).sum() > 100_000
    return tokens, ids


def standard_error(probability: float, count: int) -> float:
    return (probability * (1 - probability) / count) ** 0.5


@pytest.mark.parametrize("begins_word", [None, BEGINS_WORD], ids=["tokens", "words"])
@pytest.mark.parametrize(
    "weights", [None, smoothed_weights(np.arange(VOCABULARY) ** 3, 0.7)], ids=["equal", "smoothed"]
)
def test_rates_over_100000_tokens(large_batch, begins_word, weights) -> None:
    tokens, ids = large_batch
    scheme = replace(SCHEME, begins_word=begins_word, weights=weights)
    inputs, targets = scheme.apply(tokens, ids, epoch=1)
    selected = targets != PADDING
    # Each sample takes its share rounded up or down, at random: far less noise than independent draws have.
    assert selected.sum() / (tokens != PADDING).sum() == pytest.approx(0.15, abs=5 * 0.5 * len(tokens) ** 0.5 / 1e5)
    if begins_word is None:
        assert (np.abs(selected.sum(1) - 0.15 * (tokens != PADDING).sum(1)) < 1).all()

    count, random_choices = selected.sum(), MASKABLE.sum()
    fates = {
        "mask": (inputs[selected] == MASK, 0.8),
        # a random token is the original one in one of 42 cases
        "kept": (inputs[selected] == targets[selected], 0.1 + 0.1 / random_choices),
        "random": ((inputs[selected] != MASK) & (inputs[selected] != targets[selected]), 0.1 - 0.1 / random_choices),
    }
    for fate, (found, expected) in fates.items():
        assert found.mean() == pytest.approx(expected, abs=4 * standard_error(expected, count)), fate


def test_random_tokens_are_uniform_over_what_is_maskable(large_batch) -> None:
    inputs, targets = replace(SCHEME, mask_prob=0.5, random_token_prob=0.9).apply(*large_batch, epoch=1)
    counts = np.bincount(inputs[targets != PADDING], minlength=VOCABULARY)
    assert (counts[~MASKABLE] == 0).all()
    expected = counts.sum() / MASKABLE.sum()
    chi_squared = ((counts[MASKABLE] - expected) ** 2 / expected).sum()
    assert chi_squared < 41 + 5 * (2 * 41) ** 0.5  # 41 degrees of freedom: mean 41, variance 82


@pytest.mark.parametrize("begins_word", [None, BEGINS_WORD], ids=["tokens", "words"])
def test_targets_are_the_originals_and_all_else_is_left_alone(large_batch, begins_word) -> None:
    tokens, ids = large_batch
    inputs, targets = replace(SCHEME, mask_prob=0.4, begins_word=begins_word).apply(tokens, ids, epoch=3)
    selected = targets != PADDING
    np.testing.assert_array_equal(targets[selected], tokens[selected])
    np.testing.assert_array_equal(inputs[~selected], tokens[~selected])
    assert MASKABLE[tokens[selected]].all()


@pytest.mark.parametrize("begins_word", [None, BEGINS_WORD], ids=["tokens", "words"])
def test_specials_are_never_selected_even_where_all_else_is(begins_word) -> None:
    tokens, ids = random_batch(5, 13)
    scheme = replace(SCHEME, mask_prob=1.0, begins_word=begins_word)
    np.testing.assert_array_equal(scheme.select(tokens, ids, epoch=1), MASKABLE[tokens])
    only_specials = np.array([[BOS, EOS, PADDING]])
    assert not scheme.select(only_specials, np.array([0]), epoch=1).any()


@pytest.mark.parametrize("begins_word", [None, BEGINS_WORD], ids=["tokens", "words"])
def test_masks_depend_on_nothing_but_their_own_sample(begins_word) -> None:
    tokens, ids = random_batch(9, 31)
    scheme = replace(SCHEME, begins_word=begins_word, weights=smoothed_weights(np.arange(VOCABULARY), 0.7))
    inputs, targets = scheme.apply(tokens, ids, epoch=2)
    order = np.array([4, 0, 8, 2])
    for rows, extra_padding in ((order, 0), (order, 17), (np.array([3]), 0)):
        width = (tokens[rows] != PADDING).sum(1).max() + extra_padding
        batch = np.full((len(rows), width), PADDING)
        batch[:, : min(width, 31)] = tokens[rows, :width]
        for actual, expected in zip(scheme.apply(batch, ids[rows], epoch=2), (inputs, targets), strict=True):
            np.testing.assert_array_equal(actual[:, :31], expected[rows, :width])
            assert (actual[:, 31:] == PADDING).all()


def test_masks_differ_by_epoch_seed_and_sample() -> None:
    tokens = np.tile(random_batch(1, 301)[0], (2, 1))
    first, second = SCHEME.select(tokens, np.array([0, 1]), epoch=1)
    next_epoch = SCHEME.select(tokens, np.array([0, 1]), epoch=2)[0]
    other_seed = replace(SCHEME, seed=8).select(tokens, np.array([0, 1]), epoch=1)[0]
    for other in (second, next_epoch, other_seed):
        # Independent masks share 0.15 of their positions.
        assert (first & other).sum() < 0.4 * first.sum()
    np.testing.assert_array_equal(first, SCHEME.select(tokens, np.array([0, 1]), epoch=1)[0])


@pytest.mark.parametrize(("words", "sizes"), [(2, {0, 1}), (5, {1, 2})])
def test_the_budget_is_rounded_so_that_the_rate_is_exact_on_average(words: int, sizes: set[int]) -> None:
    samples = 20_000
    tokens = np.tile(np.array([BOS, *range(5, 5 + words), EOS]), (samples, 1))
    selected = SCHEME.select(tokens, np.arange(samples), epoch=1).sum(1)
    budget = 0.15 * (words + 2)
    assert set(selected) == sizes
    assert selected.mean() == pytest.approx(budget, abs=4 * standard_error(budget % 1, samples))


def test_every_position_is_selected_equally_often() -> None:
    samples = 20_000
    tokens = np.tile(np.array([BOS, 5, 6, 7, 8, 9, EOS]), (samples, 1))
    rates = SCHEME.select(tokens, np.arange(samples), epoch=1).mean(0)
    np.testing.assert_allclose(rates[1:-1], 1.05 / 5, atol=4 * standard_error(0.21, samples))


def test_whole_words_are_selected_whole() -> None:
    tokens, ids = random_batch(500, 61)
    scheme = replace(SCHEME, begins_word=BEGINS_WORD)
    selected = scheme.select(tokens, ids, epoch=1)
    eligible = MASKABLE[tokens]
    starts = word_starts(BEGINS_WORD[tokens], eligible)
    np.testing.assert_array_equal(selected, np.take_along_axis(selected, starts, axis=1) & eligible)
    assert (selected.sum(1) > 0.15 * 61).any()  # whole words overshoot at times; the mean is tested above


def test_word_starts() -> None:
    # <s> un ##aff ##able fox </s> ##es run <pad>
    begins_word = np.array([[True, True, False, False, True, True, False, True, True]])
    eligible = np.array([[False, True, True, True, True, False, True, True, False]])
    assert word_starts(begins_word, eligible).tolist() == [[0, 1, 1, 1, 4, 5, 6, 7, 8]]


def test_the_rate_is_kept_where_words_are_longer_than_the_budget() -> None:
    samples = 20_000
    tokens = np.tile(np.array([BOS, 5, 7, 6, 6, 6, 6, 6, EOS]), (samples, 1))  # 5, and a word of 6 tokens
    begins_word = np.array([index != 6 for index in range(VOCABULARY)])
    rates = replace(SCHEME, begins_word=begins_word).select(tokens, np.arange(samples), epoch=1).mean(0)
    assert rates.mean() == pytest.approx(0.15, abs=0.003)


def test_smoothed_weights() -> None:
    np.testing.assert_allclose(smoothed_weights(np.array([0, 1, 16, 10**6]), 0.5), [1, 1, 1 / 4, 1 / 1000])


def test_selection_is_in_proportion_to_the_weights() -> None:
    samples = 20_000
    weights = np.ones(VOCABULARY)
    weights[5], weights[6] = 3.0, 0.5
    scheme = replace(SCHEME, mask_prob=0.25, weights=weights)  # a budget of 1 of 4 tokens
    for kinds, expected in (([5, 6], 3 / 3.5), ([5, 7], 3 / 4), ([6, 7], 0.5 / 1.5)):
        tokens = np.tile(np.array([BOS, *kinds, EOS]), (samples, 1))
        selected = scheme.select(tokens, np.arange(samples), epoch=1)
        assert (selected.sum(1) == 1).all()
        assert selected[:, 1].mean() == pytest.approx(expected, abs=4 * standard_error(expected, samples))


def test_selection_without_replacement_is_in_proportion_to_the_weights() -> None:
    """The second of two draws is in proportion to what is left, as successive weighted draws are."""
    samples = 20_000
    weights = np.ones(VOCABULARY)
    weights[5], weights[6], weights[7] = 4.0, 2.0, 1.0
    tokens = np.tile(np.array([5, 6, 7, EOS]), (samples, 1))
    selected = replace(SCHEME, mask_prob=0.5, weights=weights).select(tokens, np.arange(samples), epoch=1)
    left_out = [2 / 7 * (1 / 5) + 1 / 7 * (2 / 6), 4 / 7 * (1 / 3) + 1 / 7 * (4 / 6), 4 / 7 * (2 / 3) + 2 / 7 * (4 / 5)]
    np.testing.assert_allclose(1 - selected[:, :3].mean(0), left_out, atol=4 * standard_error(0.5, samples))


def test_counter_uniform_is_uniform() -> None:
    values = np.sort(counter_uniform(1, 1, ORDER, np.arange(400)[:, None], np.arange(301)).ravel())
    assert values[0] > 0 and values[-1] < 1
    ranks = (np.arange(values.size) + 0.5) / values.size
    # Kolmogorov and Smirnov: exceeded with probability 2 exp(-2 x 2.3^2) < 1e-4
    assert np.abs(values - ranks).max() < 2.3 / values.size**0.5


@pytest.mark.parametrize(
    "other",
    [
        {"stream": REPLACEMENT},
        {"epoch": 2},
        {"seed": 2},
        {"sample_ids": np.arange(1, 401)[:, None]},
        {"positions": np.arange(1, 302)},
        {"seed": -1},
        {"seed": 2**64 + 2},
    ],
    ids=str,
)
def test_streams_epochs_seeds_samples_and_positions_are_independent(other: dict) -> None:
    counters = {"seed": 1, "epoch": 1, "stream": ORDER, "sample_ids": np.arange(400)[:, None]}
    counters["positions"] = np.arange(301)
    first, second = (counter_uniform(**settings).ravel() for settings in (counters, counters | other))
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / first.size**0.5
    joint = np.histogram2d(first, second, bins=4)[0]
    expected = first.size / 16
    assert ((joint - expected) ** 2 / expected).sum() < 15 + 6 * 30**0.5


def test_seed_epoch_and_sample_are_not_interchangeable() -> None:
    one, two = np.array([1]), np.array([2])
    first = counter_uniform(1, 2, ORDER, one, one)
    assert first != counter_uniform(2, 1, ORDER, one, one)
    assert first != counter_uniform(1, 1, ORDER, two, one)
    assert counter_uniform(3, 3, ORDER, one, two) != counter_uniform(3, 3, ORDER, two, one)


@pytest.mark.parametrize("begins_word", [None, BEGINS_WORD], ids=["tokens", "words"])
@pytest.mark.parametrize("weights", [None, smoothed_weights(np.arange(VOCABULARY), 0.7)], ids=["equal", "smoothed"])
def test_what_is_selected_at_a_rate_are_the_positions_whose_lowest_rate_it_reaches(begins_word, weights) -> None:
    tokens, ids = random_batch(300, 61)
    scheme = replace(SCHEME, begins_word=begins_word, weights=weights)
    lowest_rates = scheme.lowest_rates(tokens, ids, epoch=2)
    assert (lowest_rates > 0).all() and np.isinf(lowest_rates[~MASKABLE[tokens]]).all()
    for rate in (0.0, 0.01, 0.15, 0.4, 0.97, 1.0):
        selected = replace(scheme, mask_prob=rate).select(tokens, ids, epoch=2)
        np.testing.assert_array_equal(lowest_rates <= rate, selected)
