from pathlib import Path

import pytest
from fairseq.data import Dictionary

from fairseq_distil.data.symbol_dictionary import build_dictionary
from fairseq_distil.data.tokenizers import SPECIAL_SYMBOLS, GPT2BPETokenizer, WordPieceTokenizer
from fairseq_distil.errors import UserError


def test_special_symbols_then_the_tokenisers_own_order(wordpiece: WordPieceTokenizer) -> None:
    dictionary = build_dictionary(wordpiece)
    assert dictionary.symbols == [*SPECIAL_SYMBOLS[:4], *wordpiece.symbols]
    assert dictionary.add_symbol("<mask>") == len(wordpiece.vocabulary) - 1


def test_a_given_order_is_kept(gpt2: GPT2BPETokenizer, tmp_path: Path) -> None:
    path = tmp_path / "dict.txt"
    path.write_text("13 850\n7 3\nmadeupword0000 0\n")
    dictionary = build_dictionary(gpt2, path)
    assert dictionary.symbols[4:] == ["13", "7", "madeupword0000"]
    assert dictionary.count[4:] == [0, 0, 0]
    assert dictionary.index("8") == dictionary.unk()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"13 850\n13 2\n", "not a fairseq dictionary .*[Dd]uplicate"),
        (b"thirteen\n", "not a fairseq dictionary"),
        (b"\xff 2\n", "not a fairseq dictionary"),
        (b"13 850\nfox 3\n", "no symbol 'fox'"),
        (b"13 850\n<mask> 3\n", "holds <mask>, which the task appends itself"),
    ],
)
def test_bad_dictionaries_are_refused(content: bytes, message: str, gpt2: GPT2BPETokenizer, tmp_path: Path) -> None:
    path = tmp_path / "dict.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        build_dictionary(gpt2, path)


def test_a_missing_dictionary_is_named(gpt2: GPT2BPETokenizer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dict.txt: no such file"):
        build_dictionary(gpt2, tmp_path / "dict.txt")


def test_roberta_dictionary_gives_robertas_size(published_vocabularies: Path) -> None:
    tokenizer = GPT2BPETokenizer(
        published_vocabularies / "gpt2-encoder.json", published_vocabularies / "gpt2-vocab.bpe"
    )
    dictionary = build_dictionary(tokenizer, published_vocabularies / "roberta-dict.txt")
    assert dictionary.symbols == Dictionary.load(str(published_vocabularies / "roberta-dict.txt")).symbols
    assert dictionary.add_symbol("<mask>") == 50264


def test_a_symbol_that_dict_txt_cannot_hold_is_named(wordpiece: WordPieceTokenizer) -> None:
    wordpiece.vocabulary.append("a\rb")
    with pytest.raises(UserError, match=r"symbol 'a\\rb' holds a line end"):
        build_dictionary(wordpiece)
