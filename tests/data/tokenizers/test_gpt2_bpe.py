import json
from pathlib import Path

import pytest
from fairseq.data.encoders.gpt2_bpe_utils import get_encoder

from fairseq_distil.data.tokenizers import GPT2BPETokenizer
from fairseq_distil.errors import UserError


def test_symbols_are_the_ids_of_fairseqs_own_encoder(
    gpt2: GPT2BPETokenizer, gpt2_files: tuple[Path, Path], difficult_texts: list[str]
) -> None:
    theirs = get_encoder(*map(str, gpt2_files))
    texts = [*difficult_texts, "at the theatre  she sat", "<|endoftext|> <mask> </s> <unk>"]
    for text in texts:
        assert gpt2.encode(text) == list(map(str, theirs.encode(text)))
    assert gpt2.encode_batch(texts) == [gpt2.encode(text) for text in texts]


def test_published_vocabulary_splits_as_fairseq_does(published_vocabularies: Path, difficult_texts: list[str]) -> None:
    files = published_vocabularies / "gpt2-encoder.json", published_vocabularies / "gpt2-vocab.bpe"
    ours, theirs = GPT2BPETokenizer(*files), get_encoder(*map(str, files))
    for text in difficult_texts:
        assert ours.encode(text) == list(map(str, theirs.encode(text)))
        assert ours.decode(ours.encode(text)) == text
    assert len(ours.symbols) == 50257
    assert ours.encode("Hello world") == ["15496", "995"]


def test_decode_gives_the_text_back_whole(gpt2: GPT2BPETokenizer, difficult_texts: list[str]) -> None:
    for text in difficult_texts:
        assert gpt2.decode(gpt2.encode(text)) == text
    assert gpt2.decode(["<s>", *gpt2.encode("at the"), "<mask>", *gpt2.encode(" sea"), "</s>"]) == "at the <mask> sea"


def test_begins_word_is_a_leading_space(gpt2: GPT2BPETokenizer) -> None:
    symbols = gpt2.encode("at the seats")
    assert gpt2.decode(symbols) == "at the seats"
    assert [gpt2.begins_word(symbol) for symbol in symbols] == [False, True, True, False, False, False]
    assert gpt2.begins_word("<mask>") and gpt2.begins_word("madeupword0000")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "expected one JSON object"),
        ('{"a": 0, "b": 0}', "each used once"),
        ('{"a": 0, "b": 2}', "each used once"),
        ('{"a": 0, "b": "1"}', "each used once"),
        ('{"a": 0, "b": 1}', "lacks 254 of the 256 byte symbols"),
    ],
)
def test_bad_encoder_json_is_refused(content: str, message: str, gpt2_files: tuple[Path, Path]) -> None:
    gpt2_files[0].write_text(content)
    with pytest.raises(UserError, match=message):
        GPT2BPETokenizer(*gpt2_files)


def test_bad_merges_are_refused(gpt2_files: tuple[Path, Path]) -> None:
    encoder, merges = gpt2_files
    merges.write_text("#version: 0.2\na b c\n")
    with pytest.raises(UserError, match="line 2: expected two pieces to merge, found 3"):
        GPT2BPETokenizer(encoder, merges)
    merges.write_text("x y\n")
    with pytest.raises(UserError, match="needs 'xy', which encoder.json lacks"):
        GPT2BPETokenizer(encoder, merges)
    merges.write_bytes(b"\xff\n")
    with pytest.raises(UserError, match="byte 0 is not valid UTF-8"):
        GPT2BPETokenizer(encoder, merges)


def test_extra_pieces_of_the_encoder_keep_their_ids(gpt2: GPT2BPETokenizer, gpt2_files: tuple[Path, Path]) -> None:
    ids = json.loads(gpt2_files[0].read_text(encoding="utf-8"))
    assert gpt2.symbols == [str(index) for index in range(len(ids))]
    assert gpt2.encode(" the") == [str(ids["Ġthe"])]
