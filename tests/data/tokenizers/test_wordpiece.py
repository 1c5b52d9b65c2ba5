from pathlib import Path

import pytest
from transformers import BertTokenizerFast

from fairseq_distil.data.tokenizers import SPECIAL_SYMBOLS, WordPieceTokenizer
from fairseq_distil.errors import UserError


def test_words_split_into_the_longest_pieces(wordpiece: WordPieceTokenizer) -> None:
    assert wordpiece.encode("The quick FOX jumps, unaffable!") == (
        ["the", "quick", "fox", "jump", "##s", ",", "un", "##aff", "##able", "!"]
    )
    assert wordpiece.encode("Café zebra") == ["cafe", "<unk>"]
    assert wordpiece.encode_batch(["", "日本the"]) == [[], ["日", "本", "the"]]


def test_special_names_in_text_are_ordinary_text(wordpiece: WordPieceTokenizer) -> None:
    assert wordpiece.encode("[MASK] </s>") == ["[", "mask", "]", "<", "/", "s", ">"]
    assert wordpiece.encode("<mask>[PAD]") == ["<", "mask", ">", "[", "<unk>", "]"]


def test_vocabulary_has_fairseqs_names_and_symbols_leaves_them_out(wordpiece: WordPieceTokenizer) -> None:
    assert wordpiece.vocabulary[:7] == ["<pad>", "[unused0]", "<unk>", "<s>", "</s>", "<mask>", "the"]
    assert wordpiece.symbols[:3] == ["[unused0]", "the", "quick"]
    assert len(wordpiece.symbols) + len(SPECIAL_SYMBOLS) == len(wordpiece.vocabulary)


def test_begins_word(wordpiece: WordPieceTokenizer) -> None:
    symbols = ["jump", "##ed", "<mask>", "!"]
    assert [wordpiece.begins_word(symbol) for symbol in symbols] == [True, False, True, True]


def test_decode(wordpiece: WordPieceTokenizer) -> None:
    symbols = ["<s>", "the", "<mask>", "jump", "##s", "over", "<unk>", "!", "</s>", "<pad>"]
    assert wordpiece.decode(symbols) == "the <mask> jumps over <unk> !"
    assert wordpiece.decode(["un", "##aff", "##able", "fox"]) == "unaffable fox"
    assert wordpiece.decode([]) == ""


def test_case_is_kept_where_asked_for_or_where_the_vocabulary_has_upper_case(
    tmp_path: Path, wordpiece_file: Path
) -> None:
    assert WordPieceTokenizer(wordpiece_file, lowercase=False).encode("The é") == ["<unk>", "é"]
    cased_file = tmp_path / "cased.txt"
    cased_file.write_text(wordpiece_file.read_text(encoding="utf-8") + "The\n", encoding="utf-8")
    assert WordPieceTokenizer(cased_file).encode("The the é") == ["The", "the", "é"]
    assert WordPieceTokenizer(cased_file, lowercase=True).encode("The é") == ["the", "e"]


def test_carriage_returns_at_line_ends_are_no_part_of_pieces(tmp_path: Path, wordpiece_file: Path) -> None:
    windows_file = tmp_path / "windows.txt"
    windows_file.write_bytes(wordpiece_file.read_bytes().replace(b"\n", b"\r\n"))
    assert WordPieceTokenizer(windows_file).vocabulary == WordPieceTokenizer(wordpiece_file).vocabulary


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("[MASK]\n", ""), r"lacks \[MASK\]"),
        (lambda text: text.replace("[CLS]\n", "").replace("[SEP]\n", ""), r"lacks \[CLS\], \[SEP\]"),
        (lambda text: text + "quick\n", r"line 34: 'quick' is on line 8 already"),
        (lambda text: text + "\nfoo\n", "line 34: empty"),
        (lambda text: text + "</s>\n", "line 34: </s> is fairseq's own symbol"),
        (lambda text: "", "line 1: empty"),
    ],
)
def test_bad_vocabularies_are_refused(change, message: str, wordpiece_file: Path) -> None:
    wordpiece_file.write_text(change(wordpiece_file.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        WordPieceTokenizer(wordpiece_file)


def test_vocabulary_that_is_not_text_is_refused(wordpiece_file: Path) -> None:
    wordpiece_file.write_bytes(b"[PAD]\n\xff\xfe\n")
    with pytest.raises(UserError, match="byte 6 is not valid UTF-8"):
        WordPieceTokenizer(wordpiece_file)


@pytest.mark.parametrize("name", ["bert-base-uncased", "bert-base-cased"])
def test_published_vocabularies_split_as_transformers_does(
    name: str, published_vocabularies: Path, difficult_texts: list[str]
) -> None:
    path = published_vocabularies / f"{name}-vocab.txt"
    theirs = BertTokenizerFast(str(path), do_lower_case=name.endswith("uncased"))
    ours = WordPieceTokenizer(path)
    assert ours.lowercase is name.endswith("uncased")
    for text, ids in zip(difficult_texts, ours.encode_ids(difficult_texts), strict=True):
        assert ids == theirs.encode(text, add_special_tokens=False)
    assert len(ours.symbols) + len(SPECIAL_SYMBOLS) == {"bert-base-uncased": 30522, "bert-base-cased": 28996}[name]


def test_own_vocabulary_splits_as_transformers_does(wordpiece_file: Path, difficult_texts: list[str]) -> None:
    theirs = BertTokenizerFast(str(wordpiece_file), do_lower_case=True)
    texts = [*difficult_texts, "The quick, unaffable fox: jumped over cafés 日本!"]
    expected = [theirs.encode(text, add_special_tokens=False) for text in texts]
    assert WordPieceTokenizer(wordpiece_file).encode_ids(texts) == expected
