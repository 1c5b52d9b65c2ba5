import pytest

from fairseq_distil.modules import parse_layer_pairs


@pytest.mark.parametrize(
    ("text", "student_layers", "teacher_layers", "pairs"),
    [
        ("3:6,6:12", 6, 12, [(3, 6), (6, 12)]),
        ("0:0, 2:1", 2, 5, [(0, 0), (2, 1)]),
        ("uniform", 3, 6, [(1, 2), (2, 4), (3, 6)]),
        ("uniform", 2, 5, [(1, 2), (2, 5)]),
        ("uniform", 3, 5, [(1, 2), (2, 3), (3, 5)]),
        ("uniform", 4, 4, [(1, 1), (2, 2), (3, 3), (4, 4)]),
        ("last", 3, 7, [(3, 7)]),
    ],
)
def test_pairs(text: str, student_layers: int, teacher_layers: int, pairs: list[tuple[int, int]]) -> None:
    assert parse_layer_pairs(text, student_layers, teacher_layers) == pairs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is neither 'uniform' nor 'last' nor a list of pairs such as '3:6,6:12'"),
        ("3", "is neither"),
        ("3:6,", "is neither"),
        ("-1:6", "is neither"),
        ("\N{ARABIC-INDIC DIGIT ONE}:1", "is neither"),
        ("4:6", "names layer 4 of the student, which has 3"),
        ("3:7", "names layer 7 of the teacher, which has 6"),
        ("3:6,3:6", "names a pair twice"),
    ],
)
def test_what_names_no_pairs(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_layer_pairs(text, student_layers=3, teacher_layers=6)


def test_uniform_pairs_of_a_deeper_student() -> None:
    with pytest.raises(ValueError, match="no deeper than their teacher, but this one has 4 layers, and the teacher 3"):
        parse_layer_pairs("uniform", student_layers=4, teacher_layers=3)
    assert parse_layer_pairs("last", student_layers=4, teacher_layers=3) == [(4, 3)]
