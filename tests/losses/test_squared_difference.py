import torch
from torch.nn import functional as F

from fairseq_distil.losses import squared_difference


def test_hand_computed() -> None:
    assert squared_difference(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [-1.0]])).item() == 4 + 9


def test_value_and_gradient() -> None:
    student, teacher = torch.randn(2, 7, 1, generator=torch.Generator().manual_seed(1)).unbind()
    student.requires_grad_()
    loss = squared_difference(student, teacher)
    torch.testing.assert_close(loss, F.mse_loss(student, teacher, reduction="sum"))
    (gradient,) = torch.autograd.grad(loss, student)
    torch.testing.assert_close(gradient, 2 * (student - teacher).detach())


def test_equal_outputs_have_neither_loss_nor_gradient() -> None:
    student = torch.randn(7, 1, generator=torch.Generator().manual_seed(1)).requires_grad_()
    loss = squared_difference(student, student.detach().clone())
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == 0 and not gradient.any()


def test_a_constant_of_inference_mode_and_half_precision() -> None:
    with torch.inference_mode():
        teacher = torch.ones(3, 1, dtype=torch.bfloat16)
    student = torch.zeros(3, 1, requires_grad=True)
    loss = squared_difference(student, teacher)
    loss.backward()
    assert (loss.item(), loss.dtype) == (3, torch.float32)
