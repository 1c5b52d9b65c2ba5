"""Tiny random models of transformers with tokenisers, saved as their users have them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    CamembertConfig,
    CamembertForMaskedLM,
    CamembertTokenizer,
    DistilBertConfig,
    DistilBertForMaskedLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaTokenizer,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaTokenizer,
)

from .exportables import make_exportable, make_tokenizer  # noqa: F401

WORDS = "the quick brown fox jump ##s ##ed over cafe café un ##aff ##able ! , . 日 本 é e ##e s ##t"
PIECES = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]
UNIGRAM_PIECES = ["▁the", "▁quick", "▁fox", "▁", "t", "h", "e", "s", "é", "日", "▁jump"]
MERGES = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("Ġ", "s"), ("a", "t")]
BERT_SIZES = {
    "num_hidden_layers": 3,
    "hidden_size": 12,
    "intermediate_size": 20,
    "num_attention_heads": 4,
    "attn_implementation": "eager",
}
DISTILBERT_SIZES = {"n_layers": 2, "dim": 12, "hidden_dim": 20, "n_heads": 3, "attn_implementation": "eager"}


class Source(NamedTuple):
    """A saved model, and its vocabulary under the names of a fairseq dictionary."""

    directory: Path
    model: PreTrainedModel
    row_of_symbol: dict[str, int]
    """rows of all symbols of the dictionary, special ones included"""


def randomized(model: PreTrainedModel) -> PreTrainedModel:
    """Every weight far from its initial value; padding's too, which published models do not have at zero."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def bert_names(rows: dict[str, int]) -> dict[str, int]:
    names = {"[CLS]": "<s>", "[PAD]": "<pad>", "[SEP]": "</s>", "[UNK]": "<unk>", "[MASK]": "<mask>"}
    return {names.get(piece, piece): row for piece, row in rows.items()}


def save_wordpiece(directory: Path) -> dict[str, int]:
    """BERT's tokeniser: its ``vocab.txt`` and what transformers writes beside it."""
    (directory / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    BertTokenizer.from_pretrained(directory).save_pretrained(directory)
    return bert_names({piece: row for row, piece in enumerate(PIECES)})


def save_unigram(directory: Path, tokenizer_class: type) -> dict[str, int]:
    """XLM-R's or CamemBERT's tokeniser."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *UNIGRAM_PIECES, "<mask>"]
    vocabulary = [(piece, -float(row)) for row, piece in enumerate(pieces)]
    extra = {"additional_special_tokens": []} if tokenizer_class is CamembertTokenizer else {}
    tokenizer_class(vocab=vocabulary, **extra).save_pretrained(directory)
    return {piece: row for row, piece in enumerate(pieces)}


def save_byte_level_bpe(directory: Path) -> dict[str, int]:
    """RoBERTa's tokeniser as ``vocab.json`` and ``merges.txt``; symbols are GPT-2's numbers, which differ from rows."""
    pieces = [*sorted(ByteLevel.alphabet()), *(first + second for first, second in MERGES)]
    rows = ["<s>", "<pad>", "</s>", "<unk>", *reversed(pieces), "<mask>"]
    (directory / "vocab.json").write_text(json.dumps({piece: row for row, piece in enumerate(rows)}))
    (directory / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in MERGES))
    RobertaTokenizer.from_pretrained(directory).save_pretrained(directory)
    number_of_piece = {piece: str(number) for number, piece in enumerate(pieces)}
    return {number_of_piece.get(piece, piece): row for row, piece in enumerate(rows)}


@pytest.fixture(scope="session")
def gpt2_encoder() -> dict[str, int]:
    """GPT-2's ``encoder.json`` that belongs to :func:`save_byte_level_bpe`."""
    pieces = [*sorted(ByteLevel.alphabet()), *(first + second for first, second in MERGES)]
    return {piece: number for number, piece in enumerate(pieces)}


def _bert(directory: Path, **changed: object) -> Source:
    rows = save_wordpiece(directory)
    # More rows than pieces, as models that are padded for speed have.
    config = BertConfig(**BERT_SIZES | {"vocab_size": len(rows) + 3, "max_position_embeddings": 19} | changed)
    return Source(directory, randomized(BertForMaskedLM(config)), rows)


def _distilbert(directory: Path, **changed: object) -> Source:
    rows = save_wordpiece(directory)
    config = DistilBertConfig(**DISTILBERT_SIZES | {"vocab_size": len(rows), "max_position_embeddings": 17} | changed)
    return Source(directory, randomized(DistilBertForMaskedLM(config)), rows)


def _roberta_like(directory: Path, rows: dict[str, int], config_class: type, model_class: type, **changed: object):
    sizes = {"vocab_size": len(rows), "max_position_embeddings": 21, "pad_token_id": 1, "type_vocab_size": 1}
    model = randomized(model_class(config_class(**BERT_SIZES | sizes | {"layer_norm_eps": 1e-5} | changed)))
    return Source(directory, model, rows)


def _roberta(directory: Path, **changed: object) -> Source:
    rows = save_byte_level_bpe(directory)
    return _roberta_like(directory, rows, RobertaConfig, RobertaForMaskedLM, **changed)


def _xlm_roberta(directory: Path, **changed: object) -> Source:
    rows = save_unigram(directory, XLMRobertaTokenizer)
    return _roberta_like(directory, rows, XLMRobertaConfig, XLMRobertaForMaskedLM, **changed)


def _camembert(directory: Path, **changed: object) -> Source:
    rows = save_unigram(directory, CamembertTokenizer)
    return _roberta_like(directory, rows, CamembertConfig, CamembertForMaskedLM, **changed)


MAKERS = {
    "bert": _bert,
    "distilbert": _distilbert,
    "roberta": _roberta,
    "xlm-roberta": _xlm_roberta,
    "camembert": _camembert,
}
AUTO_CLASSES = {
    "encoder": AutoModel,
    "classification": AutoModelForSequenceClassification,
    "question-answering": AutoModelForQuestionAnswering,
}


@pytest.fixture
def make_source(tmp_path: Path) -> Callable[..., Source]:
    """Saves a random model of a family; settings of its configuration can be changed."""

    def make(
        family: str,
        save: Callable[[PreTrainedModel, Path], object] | None = None,
        head: str = "masked-lm",
        **changed: object,
    ) -> Source:
        directory = tmp_path / family
        directory.mkdir()
        source = MAKERS[family](directory, **changed)
        if head != "masked-lm":
            source = source._replace(model=randomized(AUTO_CLASSES[head].from_config(source.model.config)))
        if save is None:
            source.model.save_pretrained(directory)
        else:
            source.model.config.save_pretrained(directory)
            save(source.model, directory)
        return source

    return make
