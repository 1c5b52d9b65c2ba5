"""The body of a BERT-style encoder."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .embeddings import TransformerEmbeddings
from .encoder_config import EncoderConfig
from .encoder_layer import EncoderLayer
from .unpadding import Unpadding


class TransformerEncoder(nn.Module):
    """Embeddings and a stack of :class:`EncoderLayer`; neither token types nor pooler."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.embeddings = TransformerEmbeddings(config)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))

    def forward(
        self,
        tokens: Tensor,
        padding_mask: Tensor | None = None,
        layers: Sequence[int] | None = None,
        token_count: int | None = None,
    ) -> list[Tensor]:
        """Encode token ids.

        Args:
            tokens: ids ``(batch, length)``
            padding_mask: boolean ``(batch, length)``, true at padding; None where the batch has none
            layers: whose hidden states are wanted, counted from 1, and 0 the embeddings', in rising order; those above
                the last are not computed. None: all
            token_count: how many tokens are no padding, where that is known; padding on a GPU is computed without it

        Returns:
            The hidden states ``(batch, length, width)`` of ``layers``; of those above 0, at padding none that mean
            anything.
        """
        attention_mask = None if padding_mask is None else ~padding_mask[:, None, None, :]
        unpadding = _unpadding(padding_mask, token_count)
        wanted = range(len(self.layers) + 1) if layers is None else layers
        hidden = self.embeddings(tokens)
        hidden_states = [hidden] if 0 in wanted else []
        if unpadding is not None:
            hidden = unpadding.without_padding(hidden)
        for number, layer in enumerate(self.layers[: max(wanted)], 1):
            hidden = layer(hidden, attention_mask, unpadding)
            if number in wanted:
                hidden_states.append(hidden if unpadding is None else unpadding.with_padding(hidden))
        return hidden_states


def _unpadding(padding_mask: Tensor | None, token_count: int | None) -> Unpadding | None:
    """None where there is no padding, where a GPU would have to be asked, and where sizes must not depend on values."""
    if padding_mask is None or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return None
    if token_count is None and padding_mask.device.type != "cpu":
        return None
    return Unpadding(padding_mask, token_count)
