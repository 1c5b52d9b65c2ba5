"""The most likely answers of a window, from its start and end logits."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class AnswerSpans(NamedTuple):
    """The best spans of each window, best first, all ``(windows, n)``; the score of a span that cannot be is -inf."""

    scores: Tensor
    starts: Tensor
    ends: Tensor


def best_spans(logits: Tensor, context_starts: Tensor, lengths: Tensor, max_tokens: int, n_best: int) -> AnswerSpans:
    """The spans within the context with the largest sums of start and end logit, among all of ``max_tokens`` tokens.

    DistilBERT's reference looks at the combinations of the 20 best starts and ends only.

    Args:
        logits: ``(windows, length, 2)``: to be the answer's first token, and its last
        context_starts: ``(windows,)``: position of the first context token
        lengths: ``(windows,)``: tokens of the window, the closing ``</s>`` included
        max_tokens: longest answer
        n_best: spans of each window
    """
    length = logits.size(1)
    positions = torch.arange(length, device=logits.device)
    in_context = (positions >= context_starts[:, None]) & (positions < lengths[:, None] - 1)
    start_logits, end_logits = logits.float().masked_fill(~in_context[..., None], -torch.inf).unbind(-1)
    # (windows, length, max_tokens): the end logits of the tokens from each position on
    end_logits = F.pad(end_logits, (0, max_tokens - 1), value=-torch.inf).unfold(1, max_tokens, 1)
    scores = (start_logits[..., None] + end_logits).flatten(1)
    best = scores.topk(min(n_best, scores.size(1)))
    starts = best.indices // max_tokens
    return AnswerSpans(best.values, starts, starts + best.indices % max_tokens)
