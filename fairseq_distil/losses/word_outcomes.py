"""Distributions of a teacher over its likeliest words, and any other word as one more outcome."""

from typing import NamedTuple

import torch
from torch import Tensor

from .likeliest_words import likeliest_words
from .softmax import softmax_and_normaliser


class WordOutcomes(NamedTuple):
    """K words of each row, which may differ from row to row, and any other word."""

    words: Tensor
    """ids ``(rows, K)``, int64, each once"""
    log_probabilities: Tensor
    """float32 ``(rows, K + 1)``, finite, softened by a temperature; in the last place that of any other word"""

    def of_rows(self, rows: slice) -> "WordOutcomes":
        """Those of some rows."""
        return WordOutcomes(self.words[rows], self.log_probabilities[rows])

    def first_choice(self) -> Tensor:
        """The likeliest word of each row ``(rows,)``; of equal ones, the first."""
        return self.words.gather(1, self.log_probabilities[:, :-1].argmax(-1, keepdim=True))[:, 0]


def likeliest_outcomes(logits: Tensor, top_k: int) -> WordOutcomes:
    """The likeliest words, in the order of their ids, and any other word.

    Args:
        logits: float32 ``(rows, vocab)``, divided by the temperature; overwritten
        top_k: K, less than the vocabulary
    """
    words = likeliest_words(logits, top_k).sort().values
    return WordOutcomes(words, _merge_rest(logits, words)[0])


def replace_by_outcomes_gradient(student_logits: Tensor, teacher: WordOutcomes) -> Tensor:
    """``KL(teacher || student)`` over the teacher's outcomes, summed over rows.

    The gradient of any other word is shared among those words in proportion to the student's probabilities.

    Args:
        student_logits: float32 ``(rows, vocab)``, divided by the temperature; become the gradient
        teacher: of the same rows
    """
    student, share_of_rest = _merge_rest(student_logits, teacher.words)
    teacher_probabilities = teacher.log_probabilities.exp()
    divergence = torch.linalg.vecdot(teacher_probabilities, teacher.log_probabilities - student).sum()
    gradient = student.exp_().sub_(teacher_probabilities)
    torch.mul(share_of_rest, gradient[:, -1:], out=student_logits)
    student_logits.scatter_(1, teacher.words, gradient[:, :-1])
    return divergence


def _merge_rest(logits: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities ``(rows, K + 1)`` of words and any other, and the softmax of all others ``(rows, vocab)``.

    Any other word is an outcome whose logit is the logarithm of the sum of exponentials of their logits: its
    probability is never one less the others', which would lose what is small.
    """
    of_words = logits.gather(1, words)
    logits.scatter_(1, words, -torch.inf)
    share_of_rest, largest, log_largest = softmax_and_normaliser(logits)
    return torch.cat([of_words, (largest - log_largest)[:, None]], 1).log_softmax(-1), share_of_rest
