import pytest
import torch
from torch import nn

from fairseq_distil.modules import initialize_bert_parameters


def test_weights_are_normal_biases_and_padding_zero_and_layer_norms_one() -> None:
    module = nn.Sequential(nn.Embedding(997, 131, padding_idx=3), nn.Linear(131, 257), nn.LayerNorm(257))
    torch.manual_seed(1)
    initialize_bert_parameters(module, initializer_range=0.05)
    embedding, linear, layer_norm = module
    for weight in (embedding.weight, linear.weight):
        # The standard error of a standard deviation of n samples is std / sqrt(2 n): 5 of them.
        assert weight.std().item() == pytest.approx(0.05, rel=5 / (2 * weight.numel()) ** 0.5, abs=1e-4)
        assert abs(weight.mean().item()) < 5 * 0.05 / weight.numel() ** 0.5
    assert embedding.weight[3].eq(0).all() and not embedding.weight[2].eq(0).any()
    assert linear.bias.eq(0).all()
    assert layer_norm.weight.eq(1).all() and layer_norm.bias.eq(0).all()
