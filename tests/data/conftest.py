"""Tiny tokenisers, made here, and the published vocabularies where they lie beside the repository."""

import json
import tarfile
from pathlib import Path

import pytest
from tokenizers.pre_tokenizers import ByteLevel

from fairseq_distil.data.tokenizers import GPT2BPETokenizer, SentencePieceTokenizer, WordPieceTokenizer
from fairseq_distil.data.tokenizers.sentencepiece_training import SentencePieceTraining

PIECES = "[PAD] [unused0] [UNK] [CLS] [SEP] [MASK] the quick brown fox jump ##s ##ed over cafe mask un ##aff ##able"
PIECES += " ! , . [ ] < > / 日 本 é e ##e s"
SENTENCE = "the quick brown fox jumps over a lazy dog while seven more foxes watch it from <mask> </s> far away"
MERGES = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("Ġ", "s"), ("a", "t")]
PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "vocab.tar.xz"


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


@pytest.fixture(scope="session")
def published_vocabularies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory with BERT's, GPT-2's and RoBERTa's vocabularies."""
    if not PUBLISHED.is_file():
        pytest.skip("needs ../shared/data/vocab.tar.xz, the published vocabularies, beside the repository")
    directory = tmp_path_factory.mktemp("published")
    with tarfile.open(PUBLISHED) as archive:
        archive.extractall(directory, filter="data")
    return directory / "vocab"


@pytest.fixture(scope="session")
def difficult_texts() -> list[str]:
    """Accents, composed and not, Chinese and Japanese, emoji, controls, odd white space, nothing."""
    return [
        "Ça déjà vu, naïve Ångström — ÉCOLE; I\u0307stanbul ẞtraße",
        "e\u0301te\u0301 combining",
        "中文和English混排。日本語のテキスト、한국어도",
        "emoji 😀👩\u200d👩\u200d👧 ok 👍🏽",
        "",
        "   \t ",
        "zero\u200bwidth soft\u00adhyphen bell\x07 nbsp\u00a0here ideographic\u3000space",
        "don't can't WE'LL 3.14 1,000,000 a_b-c/d@e.com $5 `x` ^ ~ |",
        "antidisestablishmentarianism " + "x" * 150 + " pneumonoultramicroscopic",
        "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ﬁne ①②③ Ⅷ ½",
    ]
