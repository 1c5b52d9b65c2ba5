"""Against formulas of torch on each window without its padding, gradients included."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fairseq_distil.losses import answer_span_loss, answer_span_soft_target_loss

LENGTHS = [7, 4, 1]


@pytest.fixture
def is_padding() -> Tensor:
    return torch.arange(7) >= torch.tensor(LENGTHS)[:, None]


def logits(seed: int) -> Tensor:
    return torch.randn(3, 7, 2, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def assert_equal_with_gradients(loss: Tensor, expected: Tensor, values: Tensor) -> None:
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    gradients = [torch.autograd.grad(result, values)[0] for result in (loss, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)


def test_cross_entropy(is_padding: Tensor) -> None:
    values, targets = logits(1), torch.tensor([[2, 5], [0, 0], [0, 0]])
    expected = sum(
        F.cross_entropy(values[window, :length, which][None], targets[window, which][None]) / 2
        for window, length in enumerate(LENGTHS)
        for which in (0, 1)
    )
    assert_equal_with_gradients(answer_span_loss(values, targets, is_padding), expected, values)


def test_cross_entropy_by_hand() -> None:
    """Start: probability 3/4 of the first; end: 1/2 of the second; the third is padding."""
    start, end = [math.log(3), 0, 99], [0, 0, 99]
    values = torch.tensor([start, end]).T[None]
    loss = answer_span_loss(values, torch.tensor([[0, 1]]), torch.tensor([[False, False, True]]))
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_an_unknown_position_counts_nothing(is_padding: Tensor) -> None:
    values = logits(1)
    targets = torch.tensor([[2, 5], [-1, -1], [-1, -1]])
    expected = answer_span_loss(values[:1], targets[:1], is_padding[:1])
    assert_equal_with_gradients(answer_span_loss(values, targets, is_padding), expected, values)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 10.0])
def test_divergence(is_padding: Tensor, temperature: float) -> None:
    student, teacher = logits(1), logits(2).detach()
    expected = sum(
        temperature**2
        * F.kl_div(
            (student[window, :length, which] / temperature).log_softmax(-1),
            (teacher[window, :length, which] / temperature).softmax(-1),
            reduction="sum",
        )
        / 2
        for window, length in enumerate(LENGTHS)
        for which in (0, 1)
    )
    loss = answer_span_soft_target_loss(student, teacher, is_padding, temperature)
    assert_equal_with_gradients(loss, expected, student)


def test_no_divergence_from_itself_nor_of_what_is_padding(is_padding: Tensor) -> None:
    student = logits(1)
    teacher = student.detach() + 100 * is_padding[..., None] + 3
    loss = answer_span_soft_target_loss(student, teacher, is_padding, 2.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.abs() < 1e-5 and gradient.abs().max() < 1e-5 and not gradient[is_padding].any()


def test_more_padding_changes_nothing(is_padding: Tensor) -> None:
    student, teacher, targets = logits(1), logits(2), torch.tensor([[2, 5], [0, 0], [0, 0]])
    longer = [F.pad(values, (0, 0, 0, 5), value=7.0) for values in (student, teacher)]
    padding = F.pad(is_padding, (0, 5), value=True)
    torch.testing.assert_close(
        answer_span_loss(longer[0], targets, padding), answer_span_loss(student, targets, is_padding)
    )
    torch.testing.assert_close(
        answer_span_soft_target_loss(*longer, padding, 2.0),
        answer_span_soft_target_loss(student, teacher, is_padding, 2.0),
    )


def test_bfloat16_logits_give_a_float32_loss(is_padding: Tensor) -> None:
    student, teacher = logits(1).bfloat16(), logits(2).bfloat16()
    loss = answer_span_soft_target_loss(student, teacher, is_padding, 2.0)
    assert loss.dtype == torch.float32 and loss.isfinite()
