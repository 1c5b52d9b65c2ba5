"""Multi-head self-attention, batch first."""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.varlen import varlen_attn

from .dropout import Dropout
from .encoder_config import EncoderConfig
from .linear import Linear
from .unpadding import Unpadding

# cuDNN's attention can give NaN gradients on Hopper when it gets an explicit mask (pytorch issue 196678).
BACKENDS_SAFE_WITH_MASK = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
OLDEST_WITH_FLASH_ATTENTION = (8, 0)
"""Compute capability of a GPU."""
WIDEST_HEAD_OF_FLASH_ATTENTION = 256


class SelfAttention(nn.Module):
    """Scaled dot-product self-attention (Vaswani et al., 2017) with one product for queries, keys and values."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention_heads = config.attention_heads
        self.attention_dropout = Dropout(config.attention_dropout)
        self.query_key_value = Linear(config.width, 3 * config.width)
        self.output = Linear(config.width, config.width)

    def forward(
        self, hidden: Tensor, attention_mask: Tensor | None = None, unpadding: Unpadding | None = None
    ) -> Tensor:
        """Mix the hidden states of each sequence.

        Args:
            hidden: ``(batch, length, width)``, or with ``unpadding`` ``(tokens, width)``
            attention_mask: boolean ``(batch, 1, 1, length)``, true where a key may be attended to; None: everywhere
            unpadding: where the tokens are in the padded batch

        Returns:
            what has the shape of ``hidden``
        """
        query_key_value = self.query_key_value(hidden)
        if unpadding is None:
            return self.output(self._attend(query_key_value, attention_mask))
        if self._has_kernel_without_padding(query_key_value):
            return self.output(self._attend_without_padding(query_key_value, unpadding))
        context = self._attend(unpadding.with_padding(query_key_value), attention_mask)
        return self.output(unpadding.without_padding(context))

    def _attend(self, query_key_value: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Map ``(batch, length, 3 width)`` to ``(batch, length, width)``."""
        query, key, value = self._heads(query_key_value).permute(2, 0, 3, 1, 4).unbind(0)
        if self._is_faster_in_steps(query):
            context = self._attend_in_steps(query, key, value, attention_mask)
        else:
            with _safe_backends(attention_mask):
                context = F.scaled_dot_product_attention(query, key, value, attention_mask, self._dropout)
        return context.transpose(1, 2).flatten(2)

    def _heads(self, query_key_value: Tensor) -> Tensor:
        return query_key_value.unflatten(-1, (3, self.attention_heads, -1))

    @property
    def _dropout(self) -> float:
        return self.attention_dropout.probability if self.training else 0.0

    def _has_kernel_without_padding(self, query_key_value: Tensor) -> bool:
        """Flash attention of sequences one after the other: on GPUs, in two bytes, and without dropout."""
        head_width = query_key_value.size(-1) // 3 // self.attention_heads
        return (
            query_key_value.is_cuda
            and query_key_value.dtype in (torch.float16, torch.bfloat16)
            and self._dropout == 0
            and head_width % 8 == 0
            and head_width <= WIDEST_HEAD_OF_FLASH_ATTENTION
            and torch.cuda.get_device_capability(query_key_value.device) >= OLDEST_WITH_FLASH_ATTENTION
        )

    def _attend_without_padding(self, query_key_value: Tensor, unpadding: Unpadding) -> Tensor:
        """Map ``(tokens, 3 width)`` to ``(tokens, width)``."""
        query, key, value = self._heads(query_key_value).unbind(1)
        ends, length = unpadding.sequence_ends, unpadding.length
        return varlen_attn(query, key, value, ends, ends, length, length).flatten(1)

    def _is_faster_in_steps(self, query: Tensor) -> bool:
        """On CPUs torch's fused kernel has no dropout, and a slow backward in bfloat16."""
        if query.device.type != "cpu" or torch.compiler.is_compiling():
            return False
        return self._dropout > 0 or (query.dtype == torch.bfloat16 and query.requires_grad)

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
