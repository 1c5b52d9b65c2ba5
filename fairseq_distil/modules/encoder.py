"""The body of a BERT-style encoder."""

from collections.abc import Sequence

from torch import Tensor, nn

from .embeddings import TransformerEmbeddings
from .encoder_config import EncoderConfig
from .encoder_layer import EncoderLayer


class TransformerEncoder(nn.Module):
    """Embeddings and a stack of :class:`EncoderLayer`; neither token types nor pooler."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.embeddings = TransformerEmbeddings(config)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))

    def forward(
        self, tokens: Tensor, padding_mask: Tensor | None = None, layers: Sequence[int] | None = None
    ) -> list[Tensor]:
        """Encode token ids.

        Args:
            tokens: ids ``(batch, length)``
            padding_mask: boolean ``(batch, length)``, true at padding; None where the batch has none
            layers: whose hidden states are wanted, counted from 1, and 0 the embeddings', in rising order; those above
                the last are not computed. None: all

        Returns:
            The hidden states ``(batch, length, width)`` of ``layers``.
        """
        attention_mask = None if padding_mask is None else ~padding_mask[:, None, None, :]
        wanted = range(len(self.layers) + 1) if layers is None else layers
        hidden = self.embeddings(tokens)
        hidden_states = [hidden] if 0 in wanted else []
        for number, layer in enumerate(self.layers[: max(wanted)], 1):
            hidden = layer(hidden, attention_mask)
            if number in wanted:
                hidden_states.append(hidden)
        return hidden_states
