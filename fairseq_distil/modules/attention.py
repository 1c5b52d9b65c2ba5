"""Multi-head self-attention, batch first."""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .dropout import Dropout
from .encoder_config import EncoderConfig
from .linear import Linear

# cuDNN's attention can give NaN gradients on Hopper when it gets an explicit mask (pytorch issue 196678).
BACKENDS_SAFE_WITH_MASK = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


class SelfAttention(nn.Module):
    """Scaled dot-product self-attention (Vaswani et al., 2017) with one product for queries, keys and values."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention_heads = config.attention_heads
        self.attention_dropout = Dropout(config.attention_dropout)
        self.query_key_value = Linear(config.width, 3 * config.width)
        self.output = Linear(config.width, config.width)

    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Mix the hidden states ``(batch, length, width)`` of each sequence.

        Args:
            hidden: ``(batch, length, width)``
            attention_mask: boolean ``(batch, 1, 1, length)``, true where a key may be attended to; None: everywhere

        Returns:
            ``(batch, length, width)``
        """
        batch, length, width = hidden.shape
        heads = self.query_key_value(hidden).view(batch, length, 3, self.attention_heads, width // self.attention_heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        if self._is_faster_in_steps(query):
            context = self._attend_in_steps(query, key, value, attention_mask)
        else:
            dropout = self.attention_dropout.probability if self.training else 0.0
            with _safe_backends(attention_mask):
                context = F.scaled_dot_product_attention(query, key, value, attention_mask, dropout)
        return self.output(context.transpose(1, 2).reshape(batch, length, width))

    def _is_faster_in_steps(self, query: Tensor) -> bool:
        """On CPUs torch's fused kernel has no dropout, and a slow backward in bfloat16."""
        if query.device.type != "cpu" or torch.compiler.is_compiling():
            return False
        has_dropout = self.training and self.attention_dropout.probability > 0
        return has_dropout or (query.dtype == torch.bfloat16 and query.requires_grad)

    def _attend_in_steps(self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None) -> Tensor:
        """The formula: ``dropout(softmax(query key^T / sqrt(head width))) value``."""
        with torch.autocast(query.device.type, enabled=False):  # rounded scores would be exponents of wrong sizes
            exact = torch.promote_types(query.dtype, torch.float32)
            scores = (query.to(exact) * query.size(-1) ** -0.5) @ key.to(exact).transpose(-1, -2)
        if attention_mask is not None:
            # Not -inf, with which a sequence of padding alone would be NaN.
            scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
        return self.attention_dropout(scores.softmax(-1).to(value.dtype)) @ value


def _safe_backends(attention_mask: Tensor | None) -> AbstractContextManager:
    if attention_mask is None or not attention_mask.is_cuda:
        return nullcontext()
    return sdpa_kernel(BACKENDS_SAFE_WITH_MASK)
