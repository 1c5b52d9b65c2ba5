import math

import pytest
import torch
from torch import nn

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
