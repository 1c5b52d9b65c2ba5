"""Metrics of GLUE, as fractions: 1 is perfect."""

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score, matthews_corrcoef

POSITIVE_CLASS = 1
"""Index of the class that F1 is about: paraphrases in MRPC and QQP."""


def accuracy(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Fraction of the predictions that are right.

    Args:
        predictions: indices of classes ``(rows,)``
        targets: indices of classes ``(rows,)``
    """
    return float((predictions == targets).mean())


def f1(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Harmonic mean of precision and recall of class 1, of two; 0 where it is neither predicted nor there."""
    return float(f1_score(targets, predictions, pos_label=POSITIVE_CLASS, zero_division=0))


def matthews_correlation(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Correlation of two assignments to classes; 0 where one of them is constant."""
    return float(matthews_corrcoef(targets, predictions))


def pearson_correlation(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Linear correlation of numbers ``(rows,)``; 0 where one of the two is constant, as it says nothing then."""
    return 0.0 if _is_constant(predictions, targets) else float(pearsonr(predictions, targets)[0])


def spearman_correlation(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Correlation of the ranks of numbers ``(rows,)``; 0 where one of the two is constant."""
    return 0.0 if _is_constant(predictions, targets) else float(spearmanr(predictions, targets)[0])


def _is_constant(*values: np.ndarray) -> bool:
    return any(np.ptp(array) == 0 for array in values)
