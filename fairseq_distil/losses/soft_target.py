"""The soft-target term: the teacher's distribution over the vocabulary, softened by a temperature."""

from torch import Tensor


def soft_target_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Sum over rows of ``T^2 KL(teacher || student)``, both softened by the temperature T.

    L_ce of Sanh et al. (2019), section 2, as their code computes it: a divergence, zero where the
    distributions agree. T^2 keeps the size of its gradient independent of T (Hinton et al., 2015).

    Args:
        student_logits: ``(rows, vocab)``
        teacher_logits: ``(rows, vocab)``, a constant
        temperature: T, positive

    Returns:
        A float32 scalar.
    """
    student_log_probabilities = (student_logits.float() / temperature).log_softmax(-1)
    teacher_log_probabilities = (teacher_logits.float() / temperature).log_softmax(-1)
    divergence = teacher_log_probabilities.exp() * (teacher_log_probabilities - student_log_probabilities)
    return temperature**2 * divergence.sum()
