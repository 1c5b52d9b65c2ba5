"""The step without what makes it fast, which is not to change what is learned."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from fairseq.optim import FairseqOptimizer
from torch import Tensor

from fairseq_distil.criterions import distillation
from fairseq_distil.losses import reference_vocabulary_loss
from fairseq_distil.models import DistilEncoderModel
from fairseq_distil.modules import SelfAttention, encoder, linear


def _padding_mask(model: DistilEncoderModel, tokens: Tensor, *_: Any) -> Tensor:
    return tokens.eq(model.config.padding_index)


PLAIN = (
    (linear, "_suits_onednn", lambda *_: False),
    (SelfAttention, "_is_faster_in_steps", lambda *_: False),
    (DistilEncoderModel, "padding_mask", _padding_mask),
    (encoder, "_unpadding", lambda *_: None),
    (distillation, "vocabulary_loss", reference_vocabulary_loss),
)
"""Where a fast path is chosen, and what chooses the plain one: MKL's products, torch's attention, a mask in each batch
with its padding, and whole logits with their gradients by autograd."""


@contextmanager
def plain_paths(optimizer: FairseqOptimizer) -> Iterator[None]:
    """Take the plain paths within, also for the updates of a ``fused_adamw``."""
    with ExitStack() as stack:
        for owner, name, plain in PLAIN:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, plain)
        for group in optimizer.param_groups:
            stack.callback(group.update, fused=group["fused"])
            group["fused"] = False
        yield
