import io
from pathlib import Path

import pytest
import sentencepiece as library

from fairseq_distil.data.tokenizers import SPECIAL_SYMBOLS, SentencePieceTokenizer
from fairseq_distil.errors import UserError


@pytest.fixture
def foreign_model(tmp_path: Path, sentencepiece_lines: list[str]) -> Path:
    """As other projects train them: special pieces in other places and under other names, a mask that text can hold."""
    model = io.BytesIO()
    library.SentencePieceTrainer.train(
        sentence_iterator=iter(sentencepiece_lines),
        model_writer=model,
        vocab_size=46,
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        unk_piece="[unknown]",
        user_defined_symbols=["[MASK]", "[user]"],
        minloglevel=2,
    )
    path = tmp_path / "foreign.model"
    path.write_bytes(model.getvalue())
    return path


def test_text_and_back(sentencepiece: SentencePieceTokenizer) -> None:
    text = "the quick brown fox jumps over seven dogs"
    symbols = sentencepiece.encode(text)
    assert "".join(symbols).replace("▁", " ").strip() == text
    assert sentencepiece.decode(symbols) == text
    assert sentencepiece.decode(["<s>", *symbols, "<mask>", *symbols, "</s>"]) == f"{text} <mask> {text}"
    assert set(symbols) <= set(sentencepiece.symbols)
    assert sentencepiece.encode_batch(["", text]) == [[], symbols]


def test_unknown_characters_and_special_names_in_text(sentencepiece: SentencePieceTokenizer) -> None:
    assert "<unk>" in sentencepiece.encode("日")
    for name in SPECIAL_SYMBOLS:
        symbols = sentencepiece.encode(name)
        assert name == "<unk>" or name not in symbols
        assert len(symbols) > 1


def test_begins_word_is_the_meta_symbol(sentencepiece: SentencePieceTokenizer) -> None:
    symbols = sentencepiece.encode("foxes watch the dog")
    assert sum(map(sentencepiece.begins_word, symbols)) == 4
    assert sentencepiece.begins_word(symbols[0])
    assert sentencepiece.begins_word("<mask>") and not sentencepiece.begins_word("x")


def test_special_pieces_of_a_foreign_model_take_fairseqs_names(foreign_model: Path) -> None:
    tokenizer = SentencePieceTokenizer(foreign_model)
    assert tokenizer.vocabulary[:6] == ["<pad>", "<unk>", "<s>", "</s>", "<mask>", "[user]"]
    assert len(tokenizer.symbols) == 46 - 5


def test_a_mask_that_text_can_hold_becomes_unknown(foreign_model: Path) -> None:
    symbols = SentencePieceTokenizer(foreign_model).encode("the [MASK] fox")
    assert "<mask>" not in symbols and "<unk>" in symbols
    assert "[user]" in SentencePieceTokenizer(foreign_model).encode("[user]")


@pytest.mark.parametrize("content", [b"", b"this is no model"])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.model"
    path.write_bytes(content)
    with pytest.raises(UserError, match="x.model: .*SentencePiece model"):
        SentencePieceTokenizer(path)
