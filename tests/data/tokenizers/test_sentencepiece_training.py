from pathlib import Path

import pytest

from fairseq_distil.data.tokenizers import SPECIAL_SYMBOLS, SentencePieceTokenizer
from fairseq_distil.data.tokenizers.sentencepiece_training import SentencePieceTraining
from fairseq_distil.errors import UserError


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_vocabulary_size_counts_the_special_symbols(
    model_type: str, sentencepiece_lines: list[str], tmp_path: Path
) -> None:
    model = tmp_path / "x.model"
    SentencePieceTraining(vocabulary_size=41, model_type=model_type).train(sentencepiece_lines, model)
    tokenizer = SentencePieceTokenizer(model)
    assert len(tokenizer.symbols) + len(SPECIAL_SYMBOLS) == 41
    assert set(SPECIAL_SYMBOLS) == set(tokenizer.vocabulary) - set(tokenizer.symbols)


def test_the_sample_depends_on_the_seed_alone(sentencepiece_lines: list[str], tmp_path: Path) -> None:
    def train(seed: int) -> bytes:
        model = tmp_path / "x.model"
        SentencePieceTraining(vocabulary_size=39, sample_lines=60, seed=seed).train(iter(sentencepiece_lines), model)
        return model.read_bytes()

    first, again, other = train(1), train(1), train(2)
    assert first == again
    assert first != other


def test_a_line_longer_than_the_trainer_takes_is_used_in_parts(sentencepiece_lines: list[str], tmp_path: Path) -> None:
    model = tmp_path / "x.model"
    SentencePieceTraining(vocabulary_size=41).train([" ".join(sentencepiece_lines * 20)], model)
    assert "▁the" in SentencePieceTokenizer(model).encode("the quick brown fox")


@pytest.mark.parametrize(("size", "message"), [(8000, "8000 is too large .* ask for \\d+ or less"), (9, "too small")])
def test_impossible_sizes_are_named(size: int, message: str, sentencepiece_lines: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        SentencePieceTraining(vocabulary_size=size).train(sentencepiece_lines, tmp_path / "x.model")


def test_a_failure_while_reading_is_passed_on(tmp_path: Path) -> None:
    def lines():
        yield "some text"
        raise UserError("a.txt: gone")

    with pytest.raises(UserError, match="a.txt: gone"):
        SentencePieceTraining(vocabulary_size=20).train(lines(), tmp_path / "x.model")
