"""Encoders with random weights on tiny tokenisers, ready to be exported."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fairseq.data import Dictionary
from tokenizers.pre_tokenizers import ByteLevel

from fairseq_distil.checkpoints.exportable import Exportable
from fairseq_distil.checkpoints.exported_heads import choose_head
from fairseq_distil.data.symbol_dictionary import build_dictionary
from fairseq_distil.data.tokenizers import GPT2BPETokenizer, SentencePieceTokenizer, Tokenizer, WordPieceTokenizer
from fairseq_distil.data.tokenizers.sentencepiece_training import SentencePieceTraining
from fairseq_distil.models import DistilEncoderModel
from fairseq_distil.modules import EncoderConfig

TINY = {"layers": 2, "width": 12, "feed_forward_width": 20, "attention_heads": 4, "max_positions": 90}
TEXT = ["the quick brown fox jumps over a lazy dog", "while seven more foxes watch it from far away", "it, the fox."]
Order = Callable[[list[str]], list[str]]


def dictionary_of(tokenizer: Tokenizer, order: Order = list) -> Dictionary:
    """The dictionary of a tokeniser, as yet without the mask."""
    dictionary = Dictionary()
    for symbol in order(build_dictionary(tokenizer).symbols[4:]):
        dictionary.add_symbol(symbol, n=3)
    return dictionary


def save_data(tokenizer: Tokenizer, directory: Path, order: Order = list) -> Path:
    """A directory as ``prepare_data.py`` writes it, without any text."""
    directory.mkdir()
    dictionary_of(tokenizer, order).save(str(directory / "dict.txt"))
    tokenizer.save(directory)
    return directory


def randomized_encoder(
    config: EncoderConfig, classes: dict[str, int], answers: bool = False, spread: float = 0.3
) -> DistilEncoderModel:
    """Weights far from their initial values, in all heads.

    Args:
        config: the shape
        classes: of classification heads, by their names
        answers: whether to have a head for question answering
        spread: standard deviation of the weights
    """
    model = DistilEncoderModel(config)
    for name, count in classes.items():
        model.register_classification_head(name, count)
    if answers:
        model.register_question_answering_head()
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(spread * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture
def make_tokenizer(tmp_path: Path, gpt2_encoder: dict[str, int]) -> Callable[..., Tokenizer]:
    """A tiny tokeniser of a kind."""

    def make(kind: str = "wordpiece") -> Tokenizer:
        if kind.startswith("wordpiece"):
            pieces = "[PAD] a [UNK] [CLS] [SEP] [MASK] the quick fox dog ##s it , . 日 é e t ##t"
            (tmp_path / "pieces.txt").write_text("\n".join(pieces.split()), encoding="utf-8")
            return WordPieceTokenizer(tmp_path / "pieces.txt", lowercase=kind == "wordpiece")
        if kind == "gpt2-bpe":
            (tmp_path / "encoder.json").write_text(json.dumps(gpt2_encoder))
            merges = [piece for piece in gpt2_encoder if piece not in ByteLevel.alphabet()]
            lines = "".join(f"{merge[:-1]} {merge[-1]}\n" if merge != "Ġthe" else "Ġt he\n" for merge in merges)
            (tmp_path / "vocab.bpe").write_text(lines)
            return GPT2BPETokenizer(tmp_path / "encoder.json", tmp_path / "vocab.bpe")
        training = SentencePieceTraining(vocabulary_size=41, model_type=kind.removeprefix("sentencepiece-"))
        training.train(TEXT * 30, tmp_path / "trained.model")
        return SentencePieceTokenizer(tmp_path / "trained.model")

    return make


@pytest.fixture
def make_exportable(make_tokenizer: Callable[..., Tokenizer]) -> Callable[..., Exportable]:
    """An encoder with a masked-LM head, and those that are asked for."""

    def make(
        tokenizer: Tokenizer | None = None,
        order: Order = list,
        head: str | None = None,
        classes: dict[str, int] | None = None,
        answers: bool = False,
        trained_as: str = "distil_encoder",
        spread: float = 0.3,
        **sizes: object,
    ) -> Exportable:
        tokenizer = tokenizer or make_tokenizer()
        dictionary = dictionary_of(tokenizer, order)
        dictionary.add_symbol("<mask>")
        config = EncoderConfig(len(dictionary), dictionary.pad(), **TINY | sizes)
        model = randomized_encoder(config, classes or {}, answers, spread)
        checkpoint = {"cfg": {"model": {"_name": trained_as}}, "optimizer_history": [{"num_updates": 7}]}
        return Exportable(model, choose_head(model, head), tokenizer, dictionary, checkpoint=checkpoint)

    return make
