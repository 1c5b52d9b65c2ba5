import pytest

from fairseq_distil.data.squad.windows import WindowSizes, tokens_of_characters, window_ranges
from fairseq_distil.errors import UserError


@pytest.mark.parametrize(
    ("tokens", "room", "stride", "expected"),
    [
        (10, 10, 3, [(0, 10)]),
        (11, 10, 3, [(0, 10), (3, 11)]),
        (13, 10, 3, [(0, 10), (3, 13)]),
        (14, 10, 3, [(0, 10), (3, 13), (6, 14)]),
        (7, 3, 9, [(0, 3), (3, 6), (6, 7)]),
        (1, 1, 1, [(0, 1)]),
        (0, 5, 2, [(0, 0)]),
    ],
)
def test_by_hand(tokens: int, room: int, stride: int, expected: list[tuple[int, int]]) -> None:
    assert window_ranges(tokens, room, stride) == expected


@pytest.mark.parametrize("tokens", [1, 2, 17, 100, 383])
@pytest.mark.parametrize("room", [1, 7, 64])
@pytest.mark.parametrize("stride", [1, 5, 128])
def test_every_token_is_in_a_window_and_none_is_needless(tokens: int, room: int, stride: int) -> None:
    ranges = window_ranges(tokens, room, stride)
    assert {token for begin, end in ranges for token in range(begin, end)} == set(range(tokens))
    assert all(end - begin == room for begin, end in ranges[:-1])
    assert all(second[0] - first[0] == min(stride, room) for first, second in zip(ranges, ranges[1:], strict=False))
    assert len(ranges) == 1 or ranges[-2][1] < tokens


def test_tokens_of_characters() -> None:
    offsets = [(0, 3), (3, 5), (6, 6), (6, 9)]  # "abcde fgh"
    assert tokens_of_characters(offsets, 0, 3) == (0, 0)
    assert tokens_of_characters(offsets, 2, 7) == (0, 3)
    assert tokens_of_characters(offsets, 4, 5) == (1, 1)
    assert tokens_of_characters(offsets, 6, 9) == (3, 3)
    assert tokens_of_characters(offsets, 5, 6) is None


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"stride": 0}, "--stride is 0, but must be positive"),
        ({"length": -1}, "--length is -1, but must be positive"),
        ({"question_length": 0}, "--question-length is 0, but must be positive"),
        ({"length": 67}, "--length is 67: no room for a context beside a question of 64 tokens"),
    ],
)
def test_impossible_sizes(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        WindowSizes(**sizes)


def test_the_smallest_window() -> None:
    assert WindowSizes(length=68).room(64) == 1
    assert WindowSizes(length=68).room(70) == 1
    assert WindowSizes(length=68).room(0) == 65
