"""Exact match and F1 of answers, as SQuAD v1.1 defines them (Rajpurkar et al., 2016, section 6.1)."""

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

ARTICLES = re.compile(r"\b(a|an|the)\b")
WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


class AnswerScores(NamedTuple):
    """Means over questions, in percent."""

    exact_match: float
    f1: float


def normalized_answer(text: str) -> str:
    """The text in lower case, without ASCII punctuation, then without English articles, words one space apart."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(WITHOUT_PUNCTUATION)).split())


def exact_match(prediction: str, gold: str) -> float:
    """1 if the two are the same when normalised, else 0."""
    return float(normalized_answer(prediction) == normalized_answer(gold))


def f1(prediction: str, gold: str) -> float:
    """Harmonic mean of precision and recall of the prediction's words, repeated ones as often as both have them.

    Words are those of the normalised texts. Without a common word it is 0, also where neither has any.
    """
    predicted_words, gold_words = (Counter(normalized_answer(text).split()) for text in (prediction, gold))
    common = (predicted_words & gold_words).total()
    return 2 * common / (predicted_words.total() + gold_words.total()) if common else 0.0


def score_answers(pairs: Iterable[tuple[str, Sequence[str]]]) -> AnswerScores:
    """Score predictions against the most similar of their gold answers.

    Args:
        pairs: the prediction and the gold answers of each question

    Returns:
        Means over the questions; zeros where there is none.
    """
    scores = [(_best(exact_match, *pair), _best(f1, *pair)) for pair in pairs]
    if not scores:
        return AnswerScores(0.0, 0.0)
    return AnswerScores(*(100 * sum(values) / len(scores) for values in zip(*scores, strict=True)))


def _best(score: Callable[[str, str], float], prediction: str, golds: Sequence[str]) -> float:
    return max(score(prediction, gold) for gold in golds)
