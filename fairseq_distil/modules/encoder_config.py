"""The shape of an encoder."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch.nn.functional as F
from torch import Tensor

LARGEST_SIZE = 2**24
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
}


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes and constants of a BERT-style encoder.

    Args:
        vocabulary_size: symbols in the dictionary, specials included
        padding_index: id of the padding symbol
        layers: transformer layers
        width: size of a hidden state
        feed_forward_width: inner size of the feed-forward block
        attention_heads: heads of each attention; must divide ``width``
        max_positions: longest sequence, in tokens, specials included
        activation: a key of ``ACTIVATIONS``; ``gelu`` is the exact one
        dropout: probability, after the embeddings and after each feed-forward block
        attention_dropout: probability, on the attention probabilities
        layer_norm_epsilon: epsilon of every LayerNorm
        initializer_range: standard deviation of the initial weights

    Raises:
        ValueError: a size that is not positive or beyond all reason, heads that do not divide the width, an unknown
            activation, a probability outside of [0, 1), or a constant that is negative or not finite
    """

    vocabulary_size: int
    padding_index: int
    layers: int = 12
    width: int = 768
    feed_forward_width: int = 3072
    attention_heads: int = 12
    max_positions: int = 512
    activation: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    layer_norm_epsilon: float = 1e-12
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        for name in ("vocabulary_size", "layers", "width", "feed_forward_width", "attention_heads", "max_positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")
            if getattr(self, name) > LARGEST_SIZE:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at most {LARGEST_SIZE}")
        if self.width % self.attention_heads:
            raise ValueError(f"{self.attention_heads} attention heads do not divide the width {self.width}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation {self.activation!r} is unknown; choose from {', '.join(ACTIVATIONS)}")
        for name in ("dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be a probability in [0, 1)")
        for name in ("layer_norm_epsilon", "initializer_range"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be a number that is not negative")
