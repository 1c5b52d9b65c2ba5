import math
from pathlib import Path

import pytest
import torch

from fairseq_distil.data.squad.split import PreparedSplit
from fairseq_distil.evaluation.answer_spans import AnswerSpans
from fairseq_distil.evaluation.answer_texts import Candidate, probabilities, rank_answers, score_ranked, span_rows


@pytest.fixture
def split(squad_data: Path) -> PreparedSplit:
    return PreparedSplit(squad_data / "valid")


def gold_rows(split: PreparedSplit) -> torch.Tensor:
    held = [(number, *row[3:], 1.0) for number, row in enumerate(split.windows.tolist()) if row[3] > 0]
    return torch.tensor(held, dtype=torch.float32)


def test_the_gold_positions_give_the_gold_texts(split: PreparedSplit) -> None:
    answers = rank_answers(split, gold_rows(split), n_best=1)
    assert sorted(answers) == list(range(18))
    assert {split.identifier(q): best[0].text for q, best in answers.items()} == {
        split.identifier(q): split.gold_answers(q)[0] for q in range(18)
    }
    assert score_ranked(split, answers) == (100, 100)


def test_the_best_span_of_all_windows_is_the_answer(split: PreparedSplit) -> None:
    """The second window of the first question begins with its context's sixth word, in any order of the rows."""
    rows = torch.tensor([[0, 5, 5, 1.0], [1, 5, 6, 3.0], [1, 5, 5, 2.0]])
    words = split._texts["contexts"][0].split()
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        (candidates,) = rank_answers(split, rows[order], n_best=20).values()
        assert [(c.text.split(), c.score) for c in candidates] == [(words[5:7], 3), (words[5:6], 2), (words[:1], 1)]


def test_the_same_text_is_one_candidate(split: PreparedSplit) -> None:
    """The word at position 10 of the first window is at position 5 of the second."""
    (candidates,) = rank_answers(split, torch.tensor([[0, 10, 10, 1.0], [1, 5, 5, 4.0]]), n_best=20).values()
    assert [candidate.score for candidate in candidates] == [4]


def test_rows_leave_out_what_cannot_be() -> None:
    spans = AnswerSpans(
        torch.tensor([[2.5, 1.0], [3.0, -torch.inf]]), torch.tensor([[4, 5], [6, 7]]), torch.tensor([[5, 5], [8, 7]])
    )
    rows = span_rows(torch.tensor([70000, 3]), spans)
    assert rows.tolist() == [[70000, 4, 5, 2.5], [70000, 5, 5, 1], [3, 6, 8, 3]]


def test_probabilities() -> None:
    candidates = [Candidate("a", 500.0 + math.log(3)), Candidate("b", 500.0)]
    assert probabilities(candidates) == pytest.approx([0.75, 0.25])
