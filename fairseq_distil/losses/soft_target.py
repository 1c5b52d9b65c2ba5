"""The soft-target term: the teacher's distribution over the vocabulary, softened by a temperature."""

import torch
from torch import Tensor


def soft_target_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float, top_k: int | None = None
) -> Tensor:
    """Sum over rows of ``T^2 KL(teacher || student)``, both softened by the temperature T.

    L_ce of Sanh et al. (2019), section 2, as their code computes it: a divergence, zero where the
    distributions agree. T^2 keeps the size of its gradient independent of T (Hinton et al., 2015).

    Args:
        student_logits: ``(rows, vocab)``
        teacher_logits: ``(rows, vocab)``, a constant
        temperature: T, positive
        top_k: K, at most the vocabulary: a divergence over K + 1 outcomes, the teacher's K most likely words and any
            other word; None: over all words

    Returns:
        A float32 scalar.
    """
    student_log_probabilities = (student_logits.float() / temperature).log_softmax(-1)
    teacher_log_probabilities = (teacher_logits.float() / temperature).log_softmax(-1)
    if top_k is not None and top_k < teacher_logits.size(-1):
        words = teacher_logits.topk(top_k).indices
        student_log_probabilities = _with_rest_merged(student_log_probabilities, words)
        teacher_log_probabilities = _with_rest_merged(teacher_log_probabilities, words)
    divergence = teacher_log_probabilities.exp() * (teacher_log_probabilities - student_log_probabilities)
    return temperature**2 * divergence.sum()


def _with_rest_merged(log_probabilities: Tensor, words: Tensor) -> Tensor:
    """Of ``words`` ``(rows, K)``, and in the last place of any other word: ``(rows, K + 1)``."""
    rest = log_probabilities.scatter(1, words, -torch.inf).logsumexp(-1, keepdim=True)
    return torch.cat([log_probabilities.gather(1, words), rest], 1)
