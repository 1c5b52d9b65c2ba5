"""Values worked out by hand from the definition."""

import pytest

from fairseq_distil.evaluation.squad_metrics import exact_match, f1, normalized_answer, score_answers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Cat", "cat"),
        ("a  cat\tand an\nowl", "cat and owl"),
        ("theatre another anthem", "theatre another anthem"),
        ("U.S.A.", "usa"),
        ("U.S. a", "us"),
        ("A", ""),
        ("a-b", "ab"),
        ("5,000 (five)", "5000 five"),
        ("the–cat", "–cat"),
        ("  ÉCOLE “x”  ", "école “x”"),
        ("", ""),
    ],
)
def test_normalisation(text: str, expected: str) -> None:
    assert normalized_answer(text) == expected


def test_exact_match() -> None:
    assert exact_match("The Denver Broncos!", "denver broncos") == 1
    assert exact_match("Denver", "Denver Broncos") == 0
    assert exact_match("the", "") == 1


@pytest.mark.parametrize(
    ("prediction", "gold", "expected"),
    [
        ("the cat sat", "a cat sat down", 2 * (2 / 2) * (2 / 3) / (2 / 2 + 2 / 3)),
        ("cat", "dog", 0),
        ("cat cat dog", "cat dog dog", 2 / 3),
        ("cat cat", "cat", 2 * (1 / 2) / (1 / 2 + 1)),
        ("Saint Bernadette Soubirous", "to Saint Bernadette Soubirous in 1858", 2 * 1 * (3 / 6) / (1 + 3 / 6)),
        ("the", "a", 0),
        ("same", "Same.", 1),
    ],
)
def test_f1(prediction: str, gold: str, expected: float) -> None:
    assert f1(prediction, gold) == pytest.approx(expected)
    assert f1(gold, prediction) == pytest.approx(expected)


def test_the_most_similar_gold_answer_counts() -> None:
    pairs = [
        ("cat sat", ["dog", "the cat", "cat sat down"]),  # no match, F1 0.8 with the third
        ("Dog", ["cat", "the dog"]),  # match
        ("", ["cat"]),  # neither
    ]
    assert score_answers(pairs) == pytest.approx((100 / 3, 100 * (0.8 + 1 + 0) / 3))


def test_no_question() -> None:
    assert score_answers([]) == (0, 0)
