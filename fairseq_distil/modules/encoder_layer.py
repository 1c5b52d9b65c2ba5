"""One post-LayerNorm transformer layer."""

from torch import Tensor, nn

from .attention import SelfAttention
from .dropout import Dropout
from .encoder_config import ACTIVATIONS, EncoderConfig
from .linear import Linear
from .unpadding import Unpadding


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward block, each followed by a residual connection and a LayerNorm.

    Dropout stands where DistilBERT has it: on the attention probabilities and after the feed-forward block.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config)
        self.attention_layer_norm = nn.LayerNorm(config.width, eps=config.layer_norm_epsilon)
        self.feed_forward_in = Linear(config.width, config.feed_forward_width)
        self.activation = ACTIVATIONS[config.activation]
        self.feed_forward_out = Linear(config.feed_forward_width, config.width)
        self.dropout = Dropout(config.dropout)
        self.output_layer_norm = nn.LayerNorm(config.width, eps=config.layer_norm_epsilon)

    def forward(
        self, hidden: Tensor, attention_mask: Tensor | None = None, unpadding: Unpadding | None = None
    ) -> Tensor:
        """Map hidden states to others of their shape; see :class:`SelfAttention` for it, and the arguments."""
        hidden = self.attention_layer_norm(hidden + self.attention(hidden, attention_mask, unpadding))
        feed_forward = self.feed_forward_out(self.activation(self.feed_forward_in(hidden)))
        return self.output_layer_norm(hidden + self.dropout(feed_forward))
