"""Kernels for GPUs, where they can be compiled."""

import logging
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from .vocabulary_tile import TermScales

logger = logging.getLogger(__name__)

RowsByGradient = Callable[[Tensor, Tensor | None, Tensor, TermScales, bool], Tensor]
"""See :func:`~fairseq_distil.losses.vocabulary_kernel.replace_rows_by_gradient`."""


def vocabulary_kernel(logits: Tensor, teachers: int, scales: TermScales) -> RowsByGradient | None:
    """The kernel for such logits, or None where they have none.

    Args:
        logits: ``(rows, vocab)``
        teachers: how many
        scales: see :class:`TermScales`
    """
    is_of_all_words = scales.top_k in (None, logits.size(1))
    if not logits.is_cuda or logits.dtype == torch.float64 or teachers > 1 or not is_of_all_words:
        return None
    return _compiled_vocabulary_kernel(logits.device, logits.dtype, logits.size(1))


@cache
def _compiled_vocabulary_kernel(device: torch.device, dtype: torch.dtype, words: int) -> RowsByGradient | None:
    if find_spec("triton") is None:
        logger.info("without triton, the losses over the vocabulary are slower than they could be")
        return None
    try:
        from .vocabulary_kernel import replace_rows_by_gradient

        logits = torch.zeros(1, words, dtype=dtype, device=device)
        targets = torch.zeros(1, dtype=torch.long, device=device)
        for teacher_logits in (None, logits.clone()):
            for needs_gradient in (False, True):
                replace_rows_by_gradient(logits, teacher_logits, targets, TermScales(1.0, 1.0, 1.0), needs_gradient)
    except Exception as error:  # anything: it compiles for a GPU that we do not know, with the compiler that is there
        logger.warning("the losses over the vocabulary are slower than they could be: no triton kernel: %s", error)
        return None
    return replace_rows_by_gradient
