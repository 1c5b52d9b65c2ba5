from pathlib import Path

import pytest
from fairseq.data import Dictionary

from fairseq_distil.data.dictionary_check import require_same_symbols, symbols_beside
from fairseq_distil.errors import UserError


def test_equal_symbols_pass() -> None:
    require_same_symbols("one", ["<s>", "a"], "two", ["<s>", "a"])


@pytest.mark.parametrize(
    ("second", "difference"),
    [
        (["<s>", "a", "c", "b"], "4 and 4 symbols, and id 2 is 'b' in the first, 'c' in the second"),
        (["<s>", "a"], "4 and 2 symbols, and id 2 is 'b' in the first, None in the second"),
        (["<s>", "a", "b", "c", "d"], "4 and 5 symbols, and id 4 is None in the first, 'd' in the second"),
    ],
)
def test_the_first_difference_is_named(second: list[str], difference: str) -> None:
    with pytest.raises(UserError) as error:
        require_same_symbols("teacher t.pt", ["<s>", "a", "b", "c"], "the data's dict.txt", second)
    assert str(error.value).startswith("teacher t.pt has another dictionary than the data's dict.txt: " + difference)


def test_symbols_beside_a_checkpoint(tmp_path: Path) -> None:
    checkpoint = str(tmp_path / "checkpoint.pt")
    assert symbols_beside(checkpoint) is None
    dictionary = Dictionary()
    dictionary.add_symbol("word")
    dictionary.save(str(tmp_path / "dict.txt"))
    assert symbols_beside(checkpoint) == ["<s>", "<pad>", "</s>", "<unk>", "word", "<mask>"]
