"""Vocabularies, merges, SentencePiece models and the settings beside them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sentencepiece import sentencepiece_model_pb2
from tokenizers.pre_tokenizers import ByteLevel

from fairseq_distil.data.symbol_dictionary import build_dictionary
from fairseq_distil.data.tokenizers import (
    GPT2BPETokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    WordPieceTokenizer,
    load_tokenizer,
)
from fairseq_distil.data.tokenizers.sentencepiece_training import SentencePieceTraining

from .conftest import Fuzz
from .mutations import changed_bytes, changed_tree

TEXT = "The cat ﬁnds 日本, [MASK] and </s>"
SENTENCE = "the quick brown fox jumps over a lazy dog while seven more foxes watch it from far away"
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MERGES = b"#version: 0.2\nt h\nth e\n\xc4\xa0 c\n"


def use(tokenizer: Tokenizer) -> None:
    """What is done with every tokeniser; what it gives is in its own dictionary."""
    dictionary = build_dictionary(tokenizer)
    symbols = tokenizer.encode(TEXT)
    ids, offsets = tokenizer.encode_with_offsets(TEXT)
    assert all(symbol in dictionary for symbol in symbols)
    assert len(ids) == len(offsets) and all(0 <= begin <= end <= len(TEXT) for begin, end in offsets)
    tokenizer.decode(symbols)
    for symbol in dictionary.symbols:
        tokenizer.begins_word(symbol)


def test_wordpiece_vocabulary(fuzz: Fuzz, tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        use(WordPieceTokenizer(path))

    seed = "\n".join([*SPECIALS, "the", "cat", "##s", "日", "!"]).encode()
    once_failed = [seed + b"\n" + b"a" * 10**7, seed + b"\n\x1b[2J\n\x1b[2J"]
    fuzz(read, changed_bytes([seed]), once_failed)


@pytest.fixture
def encoder() -> dict[str, int]:
    pieces = [*sorted(ByteLevel.alphabet()), "th", "the", "\u0120c"]
    return {piece: index for index, piece in enumerate(pieces)}


def test_gpt2_encoder(fuzz: Fuzz, encoder: dict[str, int], tmp_path: Path) -> None:
    paths = tmp_path / "encoder.json", tmp_path / "vocab.bpe"
    paths[1].write_bytes(MERGES)

    def read(content: bytes) -> None:
        paths[0].write_bytes(content)
        use(GPT2BPETokenizer(*paths))

    def as_json(tree: object) -> bytes:
        return json.dumps(tree).encode()

    trees = changed_tree(encoder, (None, -1, 1.0, True, 10**30, [], {"a": 1}, "x")).map(as_json)
    once_failed = [b"[" * 100_000, as_json({**encoder, "\ud800": len(encoder)})]
    fuzz(read, trees | changed_bytes([as_json(encoder)]), once_failed)


def test_gpt2_merges(fuzz: Fuzz, encoder: dict[str, int], tmp_path: Path) -> None:
    paths = tmp_path / "encoder.json", tmp_path / "vocab.bpe"
    paths[0].write_text(json.dumps(encoder))

    def read(content: bytes) -> None:
        paths[1].write_bytes(content)
        use(GPT2BPETokenizer(*paths))

    fuzz(read, changed_bytes([MERGES]), [MERGES + b"t h\n", b"a" * 10**7, b"\0 \0\n"])


@pytest.fixture(scope="session")
def sentencepiece_model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    words = SENTENCE.split()
    lines = [" ".join(words[(i * step + i) % len(words)] for i in range(9)) for step in range(200)]
    path = tmp_path_factory.mktemp("model") / "m.model"
    SentencePieceTraining(vocabulary_size=41).train(lines, path)
    return path.read_bytes()


def without_normalization(model: bytes) -> bytes:
    """A few hundred bytes, so that changes hit what is small."""
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    proto.normalizer_spec.precompiled_charsmap = b""
    return proto.SerializeToString()


@pytest.mark.parametrize("seed_of", [bytes, without_normalization])
def test_sentencepiece_model(
    fuzz: Fuzz, sentencepiece_model: bytes, seed_of: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "m.model"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        use(SentencePieceTokenizer(path))

    model = seed_of(sentencepiece_model)
    middle_of_last = model.rindex("\u2581".encode()) + 1
    no_text = model[:middle_of_last] + b"a" + model[middle_of_last + 1 :]
    fuzz(read, changed_bytes([model]), [b"", no_text])


def test_settings(fuzz: Fuzz, data_with_tokenizer: Path, tmp_path: Path) -> None:
    for name in ("vocab.txt", "fairseq_distil_tokenizer.json"):
        (tmp_path / name).write_bytes((data_with_tokenizer / name).read_bytes())
    path = tmp_path / "fairseq_distil_tokenizer.json"
    seed = json.loads(path.read_bytes())

    def read(content: bytes) -> None:
        path.write_bytes(content)
        use(load_tokenizer(tmp_path))

    trees = changed_tree({**seed, "name": "x"}).map(lambda tree: json.dumps(tree).encode())
    fuzz(read, trees | changed_bytes([path.read_bytes()]), [b"[" * 100_000, b'{"kind": "\\ud800"}'])
