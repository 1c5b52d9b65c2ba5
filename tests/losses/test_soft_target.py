import math

import pytest
import torch
from torch import Tensor, nn

from fairseq_distil.losses import soft_target_loss


def test_hand_computed() -> None:
    # T = 1: KL((1/2, 1/2) || (1/4, 3/4)) = ln 2 - ln 3 / 2
    student, teacher = torch.tensor([[0.0, math.log(3)]]), torch.zeros(1, 2)
    expected = math.log(2) - math.log(3) / 2
    assert soft_target_loss(student, teacher, temperature=1.0).item() == pytest.approx(expected, rel=1e-6)
    # Logits twice as large at T = 2 are the same distributions, and T^2 = 4.
    assert soft_target_loss(2 * student, teacher, temperature=2.0).item() == pytest.approx(4 * expected, rel=1e-6)
    # A sum over rows, and not symmetric: the teacher is the first of the divergence.
    assert soft_target_loss(student.expand(3, 2), teacher.expand(3, 2), 1.0).item() == pytest.approx(3 * expected)
    backwards = (math.log(1 / 2) + 3 * math.log(3 / 2)) / 4
    assert soft_target_loss(teacher, student, temperature=1.0).item() == pytest.approx(backwards, rel=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 7.0])
def test_value_and_gradient_equal_those_of_kl_div_loss(temperature: float) -> None:
    generator = torch.Generator().manual_seed(1)
    student = (3 * torch.randn(3, 47, generator=generator)).requires_grad_()
    teacher = 3 * torch.randn(3, 47, generator=generator)
    expected = temperature**2 * nn.KLDivLoss(reduction="sum")(
        (student / temperature).log_softmax(-1), (teacher / temperature).softmax(-1)
    )
    loss = soft_target_loss(student, teacher, temperature)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, student)[0] for value in (loss, expected)))


def test_equal_distributions_have_neither_loss_nor_gradient() -> None:
    student = torch.randn(3, 47, generator=torch.Generator().manual_seed(1)).requires_grad_()
    loss = soft_target_loss(student, student.detach() + 5, temperature=2.0)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    torch.testing.assert_close(student.grad, torch.zeros(3, 47), atol=1e-6, rtol=0)


def test_infinite_temperature_matches_centred_logits() -> None:
    """T^2 KL -> the sum of squared differences of the centred logits over 2 V (Hinton et al., 2015, section 2.1)."""
    student, teacher = torch.randn(2, 3, 47, generator=torch.Generator().manual_seed(1), dtype=torch.float64).unbind()
    difference = student - teacher
    centred = difference - difference.mean(-1, keepdim=True)
    limit = centred.square().sum() / (2 * 47)
    assert soft_target_loss(student, teacher, temperature=30.0).item() == pytest.approx(limit.item(), rel=0.02)


def merged_divergence(student: Tensor, teacher: Tensor, temperature: float, top_k: int) -> Tensor:
    """Between two distributions of ``top_k`` words and one bucket, a row and a word at a time."""
    total = student.new_zeros(())
    for student_row, teacher_row in zip(student, teacher, strict=True):
        p, q = (teacher_row / temperature).softmax(0), (student_row / temperature).softmax(0)
        order = sorted(range(len(p)), key=lambda word: -p[word].item())
        buckets = [[word] for word in order[:top_k]] + [order[top_k:]]
        for bucket in filter(None, buckets):
            total = total + p[bucket].sum() * (p[bucket].sum() / q[bucket].sum()).log()
    return temperature**2 * total


@pytest.mark.parametrize("top_k", [1, 2, 12, 46, 47])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_top_k_merges_all_other_words(temperature: float, top_k: int) -> None:
    generator = torch.Generator().manual_seed(1)
    student = torch.randn(3, 47, generator=generator, dtype=torch.float64).requires_grad_()
    teacher = 2 * torch.randn(3, 47, generator=generator, dtype=torch.float64)
    loss = soft_target_loss(student, teacher, temperature, top_k)
    expected = merged_divergence(student, teacher, temperature, top_k)
    torch.testing.assert_close(loss.double(), expected, atol=1e-5, rtol=1e-5)
    gradients = (torch.autograd.grad(value, student)[0] for value in (loss, expected))
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def test_top_k_by_hand() -> None:
    """Of (1/2, 1/4, 1/8, 1/8), the two outcomes (1/2, 1/2); of the student's (1/4, 1/4, 1/4, 1/4), (1/4, 3/4)."""
    teacher, student = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log(), torch.zeros(1, 4)
    assert soft_target_loss(student, teacher, 1.0, top_k=1).item() == pytest.approx(math.log(2) - math.log(3) / 2)


def test_all_words_are_the_full_term() -> None:
    student, teacher = torch.randn(2, 5, 47, generator=torch.Generator().manual_seed(1)).unbind()
    assert soft_target_loss(student, teacher, 2.0, top_k=47).item() == soft_target_loss(student, teacher, 2.0).item()
