from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fairseq_distil.checkpoints.weight_shapes import classification_heads, require_shapes
from fairseq_distil.errors import UserError
from fairseq_distil.models import DistilEncoderModel
from fairseq_distil.modules import EncoderConfig

CONFIG = EncoderConfig(7, 1, layers=2, width=6, feed_forward_width=5, attention_heads=3, max_positions=4)
BIAS = "encoder.embeddings.layer_norm.bias"


@pytest.fixture
def weights() -> dict[str, Tensor]:
    model = DistilEncoderModel(CONFIG)
    model.register_classification_head("sentiment", num_classes=3, inner_dim=5)
    model.register_question_answering_head()
    return model.state_dict()


def test_weights_of_the_encoder_pass(weights: dict[str, Tensor]) -> None:
    require_shapes(weights, CONFIG)
    require_shapes({name: tensor for name, tensor in weights.items() if name.startswith("encoder.")}, CONFIG)
    assert classification_heads(weights) == {"sentiment": (5, 3)}


@pytest.mark.parametrize("size", ["width", "feed_forward_width", "max_positions", "vocabulary_size"])
def test_sizes_are_compared_without_making_room_for_them(weights: dict[str, Tensor], size: str) -> None:
    with pytest.raises(UserError, match="but its configuration asks for .*12000000"):
        require_shapes(weights, replace(CONFIG, **{size: 12_000_000}))


def test_more_layers_than_there_are_weights_for(weights: dict[str, Tensor]) -> None:
    with pytest.raises(UserError, match="it has .* parameters, too few for 16,000,000 layers"):
        require_shapes(weights, replace(CONFIG, layers=16_000_000))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensor: tensor[:5], r"layer_norm.bias is \(5,\), but its configuration asks for \(6,\)"),
        (lambda tensor: tensor[0], r"layer_norm.bias is \(\), but"),
        (lambda tensor: tensor.to(torch.int8), "layer_norm.bias is of torch.int8, but must be of floating point"),
        (lambda tensor: tensor.to(torch.complex64), "layer_norm.bias is of torch.complex64"),
    ],
)
def test_a_weight_of_another_kind(weights: dict[str, Tensor], change: Callable[[Tensor], Tensor], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        require_shapes({**weights, BIAS: change(weights[BIAS])}, CONFIG)


def test_a_weight_that_is_missing(weights: dict[str, Tensor]) -> None:
    del weights[BIAS]
    with pytest.raises(UserError, match=f"it lacks {BIAS}"):
        require_shapes(weights, CONFIG)


@pytest.mark.parametrize("name", ["", "a.b", "../x", "keys", "train"])
def test_names_that_no_head_can_have(weights: dict[str, Tensor], name: str) -> None:
    head = {f"classification_heads.{name}.{layer}.weight": torch.ones(2, 2) for layer in ("dense", "output")}
    with pytest.raises(UserError, match=f"a classification head cannot be called {name!r}"):
        classification_heads(weights | head)


@pytest.mark.parametrize("layer", ["dense", "output"])
def test_half_a_head(weights: dict[str, Tensor], layer: str) -> None:
    with pytest.raises(UserError, match="its classification head polarity is not whole"):
        classification_heads(weights | {f"classification_heads.polarity.{layer}.weight": torch.ones(2, 2)})
