"""Tiny tokenisers, made here, and the published vocabularies where they lie beside the repository."""

import json
from pathlib import Path

import pytest
from tokenizers.pre_tokenizers import ByteLevel

from fairseq_distil.data.tokenizers import GPT2BPETokenizer, SentencePieceTokenizer, WordPieceTokenizer
from fairseq_distil.data.tokenizers.sentencepiece_training import SentencePieceTraining

PIECES = "[PAD] [unused0] [UNK] [CLS] [SEP] [MASK] the quick brown fox jump ##s ##ed over cafe mask un ##aff ##able"
PIECES += " ! , . [ ] < > / 日 本 é e ##e s"
SENTENCE = "the quick brown fox jumps over a lazy dog while seven more foxes watch it from <mask> </s> far away"
MERGES = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("Ġ", "s"), ("a", "t")]


@pytest.fixture
def wordpiece_file(tmp_path: Path) -> Path:
    path = tmp_path / "pieces.txt"
    path.write_text("\n".join(PIECES.split()) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def wordpiece(wordpiece_file: Path) -> WordPieceTokenizer:
    return WordPieceTokenizer(wordpiece_file)


@pytest.fixture
def gpt2_files(tmp_path: Path) -> tuple[Path, Path]:
    pieces = [*sorted(ByteLevel.alphabet()), *(first + second for first, second in MERGES), "<|endoftext|>"]
    encoder, merges = tmp_path / "my-encoder.json", tmp_path / "my.bpe"
    encoder.write_text(json.dumps({piece: index for index, piece in enumerate(pieces)}), encoding="utf-8")
    merges.write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in MERGES), encoding="utf-8")
    return encoder, merges


@pytest.fixture
def gpt2(gpt2_files: tuple[Path, Path]) -> GPT2BPETokenizer:
    return GPT2BPETokenizer(*gpt2_files)


@pytest.fixture(scope="session")
def sentencepiece_lines() -> list[str]:
    words = SENTENCE.split()
    return [" ".join(words[(i * step + i) % len(words)] for i in range(9)) for step in range(200)]


@pytest.fixture(scope="session")
def sentencepiece(sentencepiece_lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> SentencePieceTokenizer:
    model = tmp_path_factory.mktemp("sentencepiece") / "trained.model"
    SentencePieceTraining(vocabulary_size=41).train(sentencepiece_lines, model)
    return SentencePieceTokenizer(model)
