"""Tiny random models of transformers beside encoders of this project with the same weights."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM, PreTrainedModel

from fairseq_distil.models import DistilEncoderModel
from fairseq_distil.modules import EncoderConfig

VOCABULARY, PADDING, WIDTH, FEED_FORWARD, HEADS, POSITIONS = 47, 1, 12, 20, 4, 19
TEACHER_LAYERS, STUDENT_LAYERS = 3, 2

BERT_LAYER = {
    "attention.query_key_value": ["attention.self.query", "attention.self.key", "attention.self.value"],
    "attention.output": ["attention.output.dense"],
    "attention_layer_norm": ["attention.output.LayerNorm"],
    "feed_forward_in": ["intermediate.dense"],
    "feed_forward_out": ["output.dense"],
    "output_layer_norm": ["output.LayerNorm"],
}
DISTILBERT_LAYER = {
    "attention.query_key_value": ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    "attention.output": ["attention.out_lin"],
    "attention_layer_norm": ["sa_layer_norm"],
    "feed_forward_in": ["ffn.lin1"],
    "feed_forward_out": ["ffn.lin2"],
    "output_layer_norm": ["output_layer_norm"],
}
BERT_HEAD = {"dense": "transform.dense", "layer_norm": "transform.LayerNorm"}


class Pair(NamedTuple):
    """The same encoder twice, and the way from the one's parameters to the other's."""

    theirs: PreTrainedModel
    ours: DistilEncoderModel
    renamed: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    """Tensors by their parameters' names -> tensors by our parameters' names: weights, or gradients"""


def from_bert(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = _from_layers(named, "bert.encoder.layer", BERT_LAYER) | _from_embeddings(named, "bert")
    for ours, theirs in BERT_HEAD.items():
        for kind in ("weight", "bias"):
            renamed[f"masked_lm_head.{ours}.{kind}"] = named[f"cls.predictions.{theirs}.{kind}"]
    return renamed | {"masked_lm_head.bias": named["cls.predictions.bias"]}


def from_distilbert(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = _from_layers(named, "distilbert.transformer.layer", DISTILBERT_LAYER)
    renamed |= _from_embeddings(named, "distilbert")
    for ours, theirs in {"dense": "vocab_transform", "layer_norm": "vocab_layer_norm"}.items():
        for kind in ("weight", "bias"):
            renamed[f"masked_lm_head.{ours}.{kind}"] = named[f"{theirs}.{kind}"]
    return renamed | {"masked_lm_head.bias": named["vocab_projector.bias"]}


def _from_embeddings(named: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        f"encoder.embeddings.{ours}": named[f"{prefix}.embeddings.{theirs}"]
        for ours, theirs in {
            "word_embeddings.weight": "word_embeddings.weight",
            "position_embeddings.weight": "position_embeddings.weight",
            "layer_norm.weight": "LayerNorm.weight",
            "layer_norm.bias": "LayerNorm.bias",
        }.items()
    }


def _from_layers(named: Mapping[str, Tensor], prefix: str, names: dict[str, list[str]]) -> dict[str, Tensor]:
    layers = {int(name.removeprefix(f"{prefix}.").split(".")[0]) for name in named if name.startswith(prefix)}
    return {
        f"encoder.layers.{layer}.{ours}.{kind}": torch.cat(
            [named[f"{prefix}.{layer}.{name}.{kind}"] for name in theirs]
        )
        for layer in layers
        for ours, theirs in names.items()
        for kind in ("weight", "bias")
    }


def _randomize(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Every weight far from its initial value, so that no part of the model is close to doing nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def _our_encoder(layers: int, weights: dict[str, Tensor]) -> DistilEncoderModel:
    sizes = {"width": WIDTH, "feed_forward_width": FEED_FORWARD, "attention_heads": HEADS, "max_positions": POSITIONS}
    encoder = DistilEncoderModel(EncoderConfig(VOCABULARY, PADDING, layers, **sizes))
    encoder.load_state_dict(weights)
    return encoder.eval()


@pytest.fixture
def generator() -> torch.Generator:
    """The same random numbers at every run."""
    return torch.Generator().manual_seed(1)


@pytest.fixture
def bert_pair() -> Pair:
    """BERT, with the embedding of token type 0 folded into the positions of ours."""
    config = BertConfig(
        vocab_size=VOCABULARY,
        pad_token_id=PADDING,
        num_hidden_layers=TEACHER_LAYERS,
        hidden_size=WIDTH,
        intermediate_size=FEED_FORWARD,
        num_attention_heads=HEADS,
        max_position_embeddings=POSITIONS,
        attn_implementation="eager",
    )
    bert = _randomize(BertForMaskedLM(config), seed=3)
    weights = from_bert(dict(bert.named_parameters()))
    positions = weights["encoder.embeddings.position_embeddings.weight"]
    token_type = bert.bert.embeddings.token_type_embeddings.weight[0]
    weights["encoder.embeddings.position_embeddings.weight"] = positions + token_type
    return Pair(bert, _our_encoder(TEACHER_LAYERS, weights), from_bert)


@pytest.fixture
def distilbert_pair() -> Pair:
    config = DistilBertConfig(
        vocab_size=VOCABULARY,
        pad_token_id=PADDING,
        n_layers=STUDENT_LAYERS,
        dim=WIDTH,
        hidden_dim=FEED_FORWARD,
        n_heads=HEADS,
        max_position_embeddings=POSITIONS,
        attn_implementation="eager",
    )
    distilbert = _randomize(DistilBertForMaskedLM(config), seed=4)
    weights = from_distilbert(dict(distilbert.named_parameters()))
    return Pair(distilbert, _our_encoder(STUDENT_LAYERS, weights), from_distilbert)


@pytest.fixture
def tokens() -> Tensor:
    """Ids ``(3, 11)`` of which the last two sequences are padded."""
    tokens = torch.randint(5, VOCABULARY, (3, 11), generator=torch.Generator().manual_seed(6))
    tokens[1, 8:] = PADDING
    tokens[2, 5:] = PADDING
    return tokens
