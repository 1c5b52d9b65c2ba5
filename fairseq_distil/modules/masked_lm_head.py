"""The masked-language-model head: a transform, then the tied vocabulary projection."""

import torch
from torch import Tensor, nn

from .encoder_config import ACTIVATIONS, EncoderConfig
from .linear import Linear, linear


class MaskedLMHead(nn.Module):
    """Dense, activation, LayerNorm, then a projection whose weight is the word embedding's.

    The embedding weight is an argument, not a parameter of this module: a state dict then holds it once.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = Linear(config.width, config.width)
        self.activation = ACTIVATIONS[config.activation]
        self.layer_norm = nn.LayerNorm(config.width, eps=config.layer_norm_epsilon)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary_size))

    def transform(self, hidden: Tensor) -> Tensor:
        """Map hidden states ``(..., width)`` to the features ``(..., width)`` that are projected on the vocabulary."""
        return self.layer_norm(self.activation(self.dense(hidden)))

    def forward(self, hidden: Tensor, word_embedding_weight: Tensor) -> Tensor:
        """Logits ``(..., vocab)`` of hidden states ``(..., width)``; the weight is ``(vocab, width)``."""
        return linear(self.transform(hidden), word_embedding_weight, self.bias)
