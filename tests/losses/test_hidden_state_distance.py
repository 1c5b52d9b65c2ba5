import torch

from fairseq_distil.losses import mean_squared_distance


def test_hand_computed() -> None:
    """Rows with the means of squares 2.5 and 0; the gradient is 2 (student - teacher) / width."""
    student = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    distance = mean_squared_distance(student, torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    assert distance.item() == 2.5
    assert torch.autograd.grad(distance, student)[0].tolist() == [[1.0, 2.0], [0.0, 0.0]]


def test_half_precision_is_summed_in_float32() -> None:
    student, teacher = torch.full((300, 7), 1.0).bfloat16(), torch.zeros(300, 7).bfloat16()
    assert mean_squared_distance(student, teacher).item() == 300.0
