"""The largest of many logits."""

import math

import torch
from torch import Tensor


def likeliest_words(logits: Tensor, count: int) -> Tensor:
    """Places ``(rows, count)`` of the largest logits of each row, in no order; of equal ones, any.

    On a CPU most words are not compared one by one. Divided into blocks, those of the ``count`` blocks with the largest
    maxima have all that is sought: a word of any other block is at most that block's maximum, hence at most each of the
    chosen blocks' maxima, which are ``count`` words. Blocks have as many words as leaves few to compare, both of the
    blocks' maxima and of the chosen blocks' words.

    Args:
        logits: ``(rows, vocab)``
        count: how many, at most the vocabulary
    """
    vocabulary = logits.size(1)
    block = math.isqrt(vocabulary // count)
    if logits.device.type != "cpu" or block < 2:
        return logits.topk(count, sorted=False).indices
    blocks = vocabulary // block
    divided = blocks * block
    # Words of a block are `blocks` apart, so that maxima are taken of neighbours at a time.
    maxima = logits[:, :divided].unflatten(1, (block, blocks)).amax(1)
    first_words = maxima.topk(count, sorted=False).indices
    words_of_blocks = (first_words[:, None] + torch.arange(0, divided, blocks)[:, None]).flatten(1)
    left_over = torch.arange(divided, vocabulary).expand(logits.size(0), -1)
    candidates = torch.cat([words_of_blocks, left_over], 1)
    return candidates.gather(1, logits.gather(1, candidates).topk(count, sorted=False).indices)
