"""Both terms in float32 against float64, where logits are so large that float32 rounds them to thousandths."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fairseq_distil.losses import TermScales, VocabularyProjection, soft_target_loss, vocabulary_loss

HUGE = 1e4


def near() -> tuple[Tensor, Tensor]:
    """Logits around 10,000 of two distributions that differ by little."""
    student, noise = torch.randn(2, 5, 47, generator=torch.Generator().manual_seed(1)).unbind()
    return HUGE + student, HUGE + student + 0.1 * noise


def shifted() -> tuple[Tensor, Tensor]:
    """The same with another constant, which changes neither distribution, but rounds their differences."""
    student, teacher = near()
    return student, teacher - HUGE


def far() -> tuple[Tensor, Tensor]:
    """Logits up to some 10,000 of distributions that each find one word possible."""
    student, teacher = torch.randn(2, 5, 47, generator=torch.Generator().manual_seed(2)).unbind()
    return HUGE * student, HUGE * teacher


def exact_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    log_student, log_teacher = ((logits / temperature).log_softmax(-1) for logits in (student, teacher))
    return temperature**2 * nn.KLDivLoss(reduction="sum", log_target=True)(log_student, log_teacher)


@pytest.mark.parametrize(("make", "tolerance"), [(near, 1e-5), (shifted, 5 * 4 * 2**-12), (far, 1e-5)])
def test_losses_and_gradients(make: Callable, tolerance: float) -> None:
    """Of a row's loss, T^2 times the rounding of the largest difference between a logit of each is lost."""
    logits, teacher_logits = make()
    targets = torch.tensor([3, 4, 5])
    exact = logits.double().requires_grad_()
    divergence = exact_divergence(exact, teacher_logits.double(), 2.0)
    cross_entropy = nn.CrossEntropyLoss(reduction="sum")(exact[:3], targets)
    (gradient,) = torch.autograd.grad(5 * divergence + 2 * cross_entropy, exact)

    plain = soft_target_loss(logits, teacher_logits, 2.0)
    assert plain.item() == pytest.approx(divergence.item(), rel=1e-4)
    student, teacher = (
        VocabularyProjection(torch.eye(5), of_one.T.contiguous(), torch.zeros(47))
        for of_one in (logits, teacher_logits)
    )
    student.weight.requires_grad_()
    losses = vocabulary_loss(student, [teacher], targets, TermScales(2.0, 5.0, 2.0))
    assert losses.soft_target.item() == pytest.approx(divergence.item(), rel=1e-5, abs=tolerance)
    assert losses.mlm.item() == pytest.approx(cross_entropy.item(), rel=1e-6)
    found = torch.autograd.grad(losses.total, student.weight)[0].T
    torch.testing.assert_close(found.double(), gradient, atol=1e-5, rtol=1e-4)
