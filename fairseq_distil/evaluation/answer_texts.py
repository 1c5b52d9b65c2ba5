"""From the spans of windows to the answers of questions.

A question's answer is the best span of all of its windows, by the sum of its logits. The alternative is BERT's rule
that a token counts only in the window that shows most of its context. Here that is left to training: a window that does
not hold the whole answer is trained to answer with its first token, which lowers all of its spans. And the comparison
needs no knowledge of other windows, so that windows may be spread over batches and workers.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fairseq_distil.data.squad.split import PreparedSplit
from fairseq_distil.evaluation.answer_spans import AnswerSpans
from fairseq_distil.evaluation.squad_metrics import AnswerScores, score_answers


class Candidate(NamedTuple):
    """A possible answer."""

    text: str
    score: float
    """start logit + end logit"""


def span_rows(windows: Tensor, spans: AnswerSpans) -> Tensor:
    """Spans as one matrix ``(spans, 4)`` of window, start, end and score, which workers can exchange.

    In float32, which holds integers up to 2^24 exactly. Spans that cannot be are left out.

    Args:
        windows: numbers ``(windows,)`` of the windows in their split
        spans: their best ones
    """
    columns = (windows[:, None].expand_as(spans.starts), spans.starts, spans.ends, spans.scores)
    rows = torch.stack([column.flatten().float() for column in columns], 1).cpu()
    return rows[rows[:, 3].isfinite()]


def rank_answers(split: PreparedSplit, rows: Tensor, n_best: int) -> dict[int, list[Candidate]]:
    """The best answers with different texts of each question that has a span, best first.

    Args:
        split: of the windows
        rows: see :func:`span_rows`
        n_best: answers of a question, at most
    """
    table = rows.numpy()
    windows = table[:, 0].astype(np.int64)
    questions = split.windows[windows, 0]
    # By question, then by score; equal scores in the order of the text, so that the order of batches does not matter.
    order = np.lexsort((table[:, 2], table[:, 1], windows, -table[:, 3], questions))
    answers: dict[int, list[Candidate]] = {}
    for row in order:
        candidates = answers.setdefault(int(questions[row]), [])
        if len(candidates) < n_best:
            text = split.text(int(windows[row]), int(table[row, 1]), int(table[row, 2]))
            if all(text != candidate.text for candidate in candidates):
                candidates.append(Candidate(text, float(table[row, 3])))
    return answers


def score_ranked(split: PreparedSplit, answers: Mapping[int, list[Candidate]]) -> AnswerScores:
    """Exact match and F1 of the first answers, over the questions that have one."""
    return score_answers((candidates[0].text, split.gold_answers(question)) for question, candidates in answers.items())


def probabilities(candidates: list[Candidate]) -> list[float]:
    """Softmax of the scores of a question's candidates, as in the reference's n-best file."""
    weights = [math.exp(candidate.score - candidates[0].score) for candidate in candidates]
    return [weight / sum(weights) for weight in weights]
