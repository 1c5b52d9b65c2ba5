"""Metrics against their definitions, written out, and against scikit-learn and scipy."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from fairseq_distil.evaluation.sentence_metrics import (
    accuracy,
    f1,
    matthews_correlation,
    pearson_correlation,
    spearman_correlation,
)

TARGETS = np.array([1, 1, 1, 0, 0, 1, 0, 1, 0, 1])
PREDICTIONS = np.array([1, 0, 1, 0, 1, 1, 0, 1, 0, 1])
TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE, TRUE_NEGATIVE = 5, 1, 1, 3


def test_classes_by_their_counts() -> None:
    assert accuracy(PREDICTIONS, TARGETS) == pytest.approx(0.8)
    assert f1(PREDICTIONS, TARGETS) == pytest.approx(10 / 12)  # 2 TP / (2 TP + FP + FN)
    numerator = TRUE_POSITIVE * TRUE_NEGATIVE - FALSE_POSITIVE * FALSE_NEGATIVE
    assert matthews_correlation(PREDICTIONS, TARGETS) == pytest.approx(numerator / math.sqrt(6 * 6 * 4 * 4))


def test_f1_is_about_class_1() -> None:
    """Of the other class it would be 2 TN / (2 TN + FP + FN)."""
    assert f1(1 - PREDICTIONS, 1 - TARGETS) == pytest.approx(6 / 8)
    assert f1(TARGETS, np.ones(10)) == pytest.approx(12 / 16)


@pytest.mark.parametrize("seed", range(3))
def test_classes_as_scikit_learn_has_them(seed: int) -> None:
    predictions, targets = np.random.default_rng(seed).integers(0, 2, (2, 91))
    assert accuracy(predictions, targets) == pytest.approx(metrics.accuracy_score(targets, predictions))
    assert f1(predictions, targets) == pytest.approx(metrics.f1_score(targets, predictions))
    assert matthews_correlation(predictions, targets) == pytest.approx(metrics.matthews_corrcoef(targets, predictions))
    # Matthews's is Pearson's correlation of the two assignments.
    assert matthews_correlation(predictions, targets) == pytest.approx(np.corrcoef(predictions, targets)[0, 1])


def test_more_than_two_classes() -> None:
    predictions, targets = np.random.default_rng(1).integers(0, 3, (2, 91))
    assert accuracy(predictions, targets) == pytest.approx(metrics.accuracy_score(targets, predictions))


def test_numbers_by_hand() -> None:
    predictions, targets = np.array([1.0, 2.0, 3.0, 10.0]), np.array([1.0, 3.0, 2.0, 4.0])
    # Deviations (-3, -2, -1, 6) and (-1.5, 0.5, -0.5, 1.5): products 13, squares 50 and 5.
    assert pearson_correlation(predictions, targets) == pytest.approx(13 / math.sqrt(50 * 5))
    # One exchange of neighbours among four ranks: 1 - 6 * 2 / (4 * 15).
    assert spearman_correlation(predictions, targets) == pytest.approx(0.8)


def test_numbers_as_scipy_has_them() -> None:
    predictions, targets = np.random.default_rng(1).normal(size=(2, 91)).round(1)  # with ties
    assert pearson_correlation(predictions, targets) == pytest.approx(np.corrcoef(predictions, targets)[0, 1])
    assert pearson_correlation(predictions, targets) == pytest.approx(stats.pearsonr(predictions, targets).statistic)
    ranks = stats.rankdata(predictions), stats.rankdata(targets)
    assert spearman_correlation(predictions, targets) == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert spearman_correlation(predictions, targets) == pytest.approx(stats.spearmanr(predictions, targets).statistic)


@pytest.mark.filterwarnings("error")
def test_what_is_constant_correlates_with_nothing() -> None:
    constant, numbers = np.full(10, 2.5), np.arange(10.0)
    for correlation in (pearson_correlation, spearman_correlation):
        assert correlation(constant, numbers) == correlation(numbers, constant) == 0
    assert matthews_correlation(np.ones(10), TARGETS) == 0
    assert f1(np.zeros(10), TARGETS) == f1(np.zeros(10), np.zeros(10)) == 0
