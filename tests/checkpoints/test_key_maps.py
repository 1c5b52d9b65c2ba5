"""The tables as such: every name once, and both directions inverse to each other."""

import pytest
import torch

from fairseq_distil.checkpoints.conversion import to_our_weights, to_their_weights
from fairseq_distil.checkpoints.key_map import KeyMap
from fairseq_distil.checkpoints.key_maps import (
    BERT,
    CLASSIFICATION_HEAD,
    DISTILBERT,
    FAIRSEQ_ROBERTA,
    MASKED_LM,
    ROBERTA,
)
from fairseq_distil.models import DistilEncoderModel
from fairseq_distil.modules import EncoderConfig

CONFIG = EncoderConfig(23, 1, layers=3, width=12, feed_forward_width=20, attention_heads=4, max_positions=19)
KEY_MAPS = {"bert": BERT, "roberta": ROBERTA, "distilbert": DISTILBERT, "fairseq_roberta": FAIRSEQ_ROBERTA}


@pytest.fixture(params=KEY_MAPS.values(), ids=KEY_MAPS)
def key_map(request: pytest.FixtureRequest) -> KeyMap:
    return request.param


def test_our_names_are_those_of_the_encoder(key_map: KeyMap) -> None:
    model = DistilEncoderModel(CONFIG)
    assert key_map.names(layers=3, heads=[MASKED_LM]).keys() == model.state_dict().keys()
    model.register_classification_head(CLASSIFICATION_HEAD, num_classes=3)
    model.register_question_answering_head()
    assert key_map.names(layers=3, heads=key_map.heads).keys() <= model.state_dict().keys()


def test_their_names_are_all_different(key_map: KeyMap) -> None:
    theirs = [name for parts in key_map.names(layers=3, heads=key_map.heads).values() for name in parts]
    assert len(theirs) == len(set(theirs))
    assert not set(theirs) & set(key_map.tied)


@pytest.mark.parametrize("first_position", [0, 2])
def test_there_and_back_bit_for_bit(key_map: KeyMap, first_position: int) -> None:
    model = DistilEncoderModel(CONFIG)
    model.register_classification_head(CLASSIFICATION_HEAD, num_classes=3)
    model.register_question_answering_head()
    names = key_map.names(layers=3, heads=key_map.heads)
    weights = {name: tensor for name, tensor in model.state_dict().items() if name in names}
    generator = torch.Generator().manual_seed(2)
    weights = {name: torch.randn(tensor.shape, generator=generator) for name, tensor in weights.items()}
    order = torch.randperm(23, generator=generator).tolist()
    inverse = torch.tensor(order).argsort().tolist()
    theirs = to_their_weights(weights, key_map, 3, order, first_position)
    back = to_our_weights(theirs, key_map, 3, inverse, first_position)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in weights.items())


def test_queries_keys_and_values_stand_in_this_order(key_map: KeyMap) -> None:
    weights = {name: torch.zeros_like(tensor) for name, tensor in DistilEncoderModel(CONFIG).state_dict().items()}
    name = "encoder.layers.1.attention.query_key_value.bias"
    weights[name] = torch.arange(36.0)
    theirs = to_their_weights(weights, key_map, 3, range(23))
    values = [theirs[part][0].item() for part in key_map.names(3, heads=[MASKED_LM])[name]]
    assert values == [0, 12, 24]
    initials = [
        part.split(".")[-2].removesuffix("_proj").removesuffix("_lin")[0]
        for part in key_map.names(3, heads=[MASKED_LM])[name]
    ]
    assert initials == ["q", "k", "v"]
