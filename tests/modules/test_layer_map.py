import pytest
import torch

from fairseq_distil.modules import default_layer_map, parse_layer_map, select_layers


@pytest.mark.parametrize(
    ("teacher_layers", "student_layers", "expected"),
    [
        (12, 6, [0, 2, 4, 7, 9, 11]),
        (12, 12, list(range(12))),
        (12, 3, [0, 6, 11]),
        (4, 2, [0, 3]),
        (5, 3, [0, 2, 4]),
        (3, 1, [0]),
        (1, 1, [0]),
    ],
)
def test_default_layer_map(teacher_layers: int, student_layers: int, expected: list[int]) -> None:
    assert default_layer_map(teacher_layers, student_layers) == expected


@pytest.mark.parametrize("teacher_layers", range(2, 25))
def test_default_layer_map_keeps_both_ends_and_repeats_none(teacher_layers: int) -> None:
    for student_layers in range(2, teacher_layers + 1):
        layer_map = default_layer_map(teacher_layers, student_layers)
        assert (layer_map[0], layer_map[-1]) == (0, teacher_layers - 1)
        assert layer_map == sorted(set(layer_map)) and len(layer_map) == student_layers


def test_parse_layer_map() -> None:
    assert parse_layer_map("0, 2,1", teacher_layers=3, student_layers=3) == [0, 2, 1]
    assert parse_layer_map("2,2", teacher_layers=3, student_layers=2) == [2, 2]
    assert parse_layer_map(None, 12, 6) == parse_layer_map("", 12, 6) == [0, 2, 4, 7, 9, 11]


@pytest.mark.parametrize(
    ("text", "student_layers", "message"),
    [
        ("0,3", 2, "'0,3' names layer 3, but the teacher's layers are 0 to 2"),
        ("0,1,2", 2, "'0,1,2' is not a list of 2 teacher layers"),
        ("0,-1", 2, "'0,-1' is not a list of 2 teacher layers"),
        ("0,x", 2, "'0,x' is not a list"),
        ("0,", 2, "'0,' is not a list"),
        ("0;2", 2, "'0;2' is not a list"),
        (None, 4, "a student of 4 layers cannot start from a teacher of 3 layers"),
        ("0,1,2,2", 4, "a student of 4 layers cannot start from a teacher of 3 layers"),
    ],
)
def test_parse_layer_map_errors(text: str | None, student_layers: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_layer_map(text, teacher_layers=3, student_layers=student_layers)


def test_select_layers() -> None:
    one, two, three, four = torch.arange(4).split(1)
    teacher = {
        "encoder.embeddings.word_embeddings.weight": one,
        "encoder.layers.1.output.weight": two,
        "encoder.layers.11.output.weight": three,
        "masked_lm_head.bias": four,
    }
    student = select_layers(teacher, [11, 1, 11])
    assert {name: int(tensor) for name, tensor in student.items()} == {
        "encoder.embeddings.word_embeddings.weight": 0,
        "encoder.layers.0.output.weight": 2,
        "encoder.layers.1.output.weight": 1,
        "encoder.layers.2.output.weight": 2,
        "masked_lm_head.bias": 3,
    }
