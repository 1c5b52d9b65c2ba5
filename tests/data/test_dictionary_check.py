from pathlib import Path

import pytest
from fairseq.data import Dictionary

from fairseq_distil.data.dictionary_check import load_shared_dictionary, require_same_symbols, symbols_beside
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


def test_another_file_beside_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "dict.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="dict.txt: not a fairseq dictionary of 'symbol count' lines"):
        symbols_beside(str(tmp_path / "checkpoint.pt"))


def write_dictionary(directory: Path, *lines: str) -> str:
    directory.mkdir()
    (directory / "dict.txt").write_text("".join(f"{line}\n" for line in lines))
    return str(directory)


@pytest.mark.parametrize(
    "symbol", ["a\0b", "\x1b[2Jb", "\x9b2Jb", "", "a" * 1001], ids=["NUL", "escape", "8 bits", "empty", "long"]
)
def test_symbols_that_no_tokeniser_gives(symbol: str, tmp_path: Path) -> None:
    write_dictionary(tmp_path / "data", "word 5", f"{symbol} 1")
    with pytest.raises(
        UserError, match="dict.txt: not a fairseq dictionary: a symbol has 1 to 1,000 characters"
    ) as found:
        load_shared_dictionary([str(tmp_path / "data")])
    assert str(found.value).isprintable()


def test_symbols_of_any_script(tmp_path: Path) -> None:
    symbols = ["\u2581\u4e2d\u6587", "\u200d", "\u0301", "a b", "\ue000"]
    write_dictionary(tmp_path / "data", *(f"{symbol} 1" for symbol in symbols))
    assert load_shared_dictionary([str(tmp_path / "data")]).symbols[4:] == symbols


def test_shards_share_the_dictionary_of_the_first(tmp_path: Path) -> None:
    first, second = (write_dictionary(tmp_path / name, "a 5", "b 3") for name in ("first", "second"))
    (tmp_path / "without").mkdir()
    assert load_shared_dictionary([first, second, str(tmp_path / "without")]).symbols[4:] == ["a", "b"]
    other = write_dictionary(tmp_path / "other", "b 5", "a 3")
    with pytest.raises(UserError, match=f"data {other} has another dictionary than data {first}: .* id 4 is 'b' in"):
        load_shared_dictionary([first, other])
    with pytest.raises(UserError, match="data .*/nowhere: no such directory"):
        load_shared_dictionary([first, str(tmp_path / "nowhere")])


@pytest.mark.parametrize("content", [b"a\n", b"a b\n", b"\xff 1\n"])
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dict.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"data .*dict.txt: not a fairseq dictionary of "):
        load_shared_dictionary([str(tmp_path)])


@pytest.mark.parametrize(
    ("lines", "symbol"),
    [
        (["a 1", "b 1", "a 2 #fairseq:overwrite"], "'a'"),
        (["<pad> 1 #fairseq:overwrite", "a 1"], "'<pad>'"),
        (["a 1", "<s> 3 #fairseq:overwrite"], "'<s>'"),
    ],
)
def test_symbols_that_are_there_twice(lines: list[str], symbol: str, tmp_path: Path) -> None:
    data = write_dictionary(tmp_path / "data", *lines)
    with pytest.raises(UserError, match=f"dict.txt: not a fairseq dictionary: {symbol} is there twice, as ids "):
        load_shared_dictionary([data])


def test_a_byte_order_mark(tmp_path: Path) -> None:
    """As editors write it; it would make another symbol of the first."""
    data = write_dictionary(tmp_path / "data", "\ufeffthe 5", "of 4")
    with pytest.raises(UserError, match=r"dict.txt: begins with a byte order mark, .*; remove it"):
        load_shared_dictionary([data])


def test_white_space_and_line_ends_of_unicode_are_read_as_they_were_written(tmp_path: Path) -> None:
    """fairseq ends lines at those of ASCII alone."""
    symbols = ["a\u2028b", "a\x85", "\u2029", " ", "\u00a0", " a", "a ", "a\ufeff", "x #fairseq:overwrite"]
    dictionary = Dictionary()
    for symbol in symbols:
        dictionary.add_symbol(symbol)
    dictionary.save(str(tmp_path / "dict.txt"))
    assert load_shared_dictionary([str(tmp_path)]).symbols[4:] == symbols


def test_a_dictionary_of_nothing_else_than_special_symbols(tmp_path: Path) -> None:
    assert len(load_shared_dictionary([write_dictionary(tmp_path / "data")])) == 4
