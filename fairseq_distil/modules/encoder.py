"""The body of a BERT-style encoder."""

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

    def forward(self, tokens: Tensor, padding_mask: Tensor | None = None) -> list[Tensor]:
        """Encode token ids.

        Args:
            tokens: ids ``(batch, length)``
            padding_mask: boolean ``(batch, length)``, true at padding; None where the batch has none

        Returns:
            The hidden states ``(batch, length, width)``: first the embeddings', then each layer's.
        """
        attention_mask = None if padding_mask is None else ~padding_mask[:, None, None, :]
        hidden_states = [self.embeddings(tokens)]
        for layer in self.layers:
            hidden_states.append(layer(hidden_states[-1], attention_mask))
        return hidden_states
