import pytest
import torch
from torch import nn

from fairseq_distil.losses import cosine_distance


def test_hand_computed() -> None:
    student = torch.tensor([[1.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 4.0]])
    teacher = torch.tensor([[5.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [1.0, 0.0]])
    assert cosine_distance(student, teacher).item() == pytest.approx(0 + 1 + 2 + (1 - 3 / 5))


def test_gradient_equals_that_of_cosine_embedding_loss() -> None:
    generator = torch.Generator().manual_seed(1)
    student = torch.randn(7, 13, generator=generator, requires_grad=True)
    teacher = torch.randn(7, 13, generator=generator)
    expected = nn.CosineEmbeddingLoss(reduction="sum")(student, teacher, torch.ones(7))
    loss = cosine_distance(student, teacher)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, student)[0] for value in (loss, expected)))


def test_length_does_not_matter_and_no_rows_are_zero() -> None:
    student, teacher = torch.randn(2, 7, 13, generator=torch.Generator().manual_seed(1)).unbind()
    torch.testing.assert_close(cosine_distance(student, teacher), cosine_distance(3 * student, 0.1 * teacher))
    assert cosine_distance(student, student).item() == pytest.approx(0, abs=1e-5)
    assert cosine_distance(student[:0], teacher[:0]).item() == 0


def test_half_precision_is_summed_in_float32() -> None:
    loss = cosine_distance(torch.ones(999, 3, dtype=torch.bfloat16), -torch.ones(999, 3, dtype=torch.bfloat16))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(2 * 999)


def test_other_width() -> None:
    with pytest.raises(ValueError, match=r"student's are \(7, 13\) and the teacher's \(7, 17\)"):
        cosine_distance(torch.zeros(7, 13), torch.zeros(7, 17))
