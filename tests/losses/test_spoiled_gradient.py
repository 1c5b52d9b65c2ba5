"""Gradients tell of a loss that is not finite, and are not changed by one that is."""

import pytest
import torch

from fairseq_distil.losses import spoil_gradient_unless_finite


@pytest.mark.parametrize("added", [torch.inf, -torch.inf, torch.nan])
def test_gradients_of_a_loss_that_is_not_finite(added: float) -> None:
    weights = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    loss = weights.square().sum() + added
    (finite,) = torch.autograd.grad(loss, weights, retain_graph=True)
    assert finite.isfinite().all()
    spoil_gradient_unless_finite(loss).backward()
    assert weights.grad.isnan().all()


def test_a_finite_loss_is_left_as_it_is() -> None:
    weights = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    loss = spoil_gradient_unless_finite(weights.square().sum())
    assert loss.item() == 14
    (-3 * loss).backward()
    assert weights.grad.tolist() == [-6, 12, -18]
