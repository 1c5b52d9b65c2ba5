"""Softmax, and what normalises it."""

from torch import Tensor


def softmax_and_normaliser(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities ``(rows, vocab)``, and each row's largest logit and the logarithm of its probability, ``(rows,)``.

    Their difference is the logarithm of the sum of exponentials, which this takes a CPU half as long to find as
    ``logsumexp``. Of huge logits it would lose the digits in which two distributions differ, so that the largest logits
    are to be subtracted from others first.
    """
    probabilities = logits.softmax(-1)
    return probabilities, logits.amax(-1), probabilities.amax(-1).log()
