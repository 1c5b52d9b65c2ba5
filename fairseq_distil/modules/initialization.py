"""Initial weights, as in BERT."""

from functools import partial

import torch
from torch import nn


def initialize_bert_parameters(module: nn.Module, initializer_range: float) -> None:
    """Draw every linear and embedding weight of ``module`` from N(0, ``initializer_range``); zero biases and padding.

    LayerNorms keep torch's one and zero.
    """
    module.apply(partial(_initialize, initializer_range=initializer_range))


def _initialize(module: nn.Module, initializer_range: float) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=initializer_range)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=initializer_range)
        if module.padding_idx is not None:
            with torch.no_grad():
                module.weight[module.padding_idx].zero_()
