"""Word and position embeddings, without token types."""

import torch
from torch import Tensor, nn

from .dropout import Dropout
from .encoder_config import EncoderConfig


class TransformerEmbeddings(nn.Module):
    """``LayerNorm(word + position)``, then dropout. DistilBERT has no token-type embeddings (Sanh et al., section 3).

    Positions count from zero at the first token, padding included, as in BERT.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocabulary_size, config.width, padding_idx=config.padding_index)
        self.position_embeddings = nn.Embedding(config.max_positions, config.width)
        self.layer_norm = nn.LayerNorm(config.width, eps=config.layer_norm_epsilon)
        self.dropout = Dropout(config.dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed token ids ``(batch, length)`` as ``(batch, length, width)``.

        Raises:
            ValueError: the sequences are longer than the position embeddings
        """
        length, max_positions = tokens.size(1), self.position_embeddings.num_embeddings
        if length > max_positions:
            raise ValueError(f"sequences of {length} tokens do not fit the encoder's {max_positions} positions")
        positions = torch.arange(length, device=tokens.device)
        hidden = self.word_embeddings(tokens) + self.position_embeddings(positions)
        return self.dropout(self.layer_norm(hidden))
