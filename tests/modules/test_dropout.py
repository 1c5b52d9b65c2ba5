import pytest
import torch

from fairseq_distil.modules.dropout import Dropout


@pytest.mark.parametrize("probability", [0.1, 0.25, 0.9])
def test_elements_are_zero_or_scaled_at_the_rate_of_the_probability(probability: float) -> None:
    torch.manual_seed(1)
    output = Dropout(probability)(torch.full((301, 7, 113), 3.0))
    levels = round(probability * 65536)
    kept = output != 0
    torch.testing.assert_close(output[kept], torch.full_like(output[kept], 3 * 65536 / (65536 - levels)))
    # four deviations of a binomial
    deviation = (probability * (1 - probability) / output.numel()) ** 0.5
    assert abs(kept.float().mean() - (1 - probability)) < 4 * deviation


def test_the_four_decisions_of_a_random_number_are_independent_at_the_same_rate() -> None:
    torch.manual_seed(2)
    dropped = Dropout(0.5)(torch.ones(40_000, 4)) == 0
    # four deviations of a binomial; each of the 16 outcomes has the probability 1 / 16
    outcomes = torch.bincount((dropped * torch.tensor([1, 2, 4, 8])).sum(1), minlength=16)
    assert (outcomes - 2500).abs().max() < 4 * (40_000 * 15 / 256) ** 0.5


def test_gradient_is_the_factor_of_each_element() -> None:
    hidden = torch.rand(5, 11) + 1
    hidden.requires_grad_()
    output = Dropout(0.5)(hidden)
    (gradient,) = torch.autograd.grad(output.sum(), hidden)
    torch.testing.assert_close(gradient, (output / hidden).detach())


def test_a_seed_gives_the_same_again() -> None:
    drop, hidden = Dropout(0.5), torch.ones(3, 17)
    torch.manual_seed(3)
    first = drop(hidden)
    assert not torch.equal(first, drop(hidden))
    torch.manual_seed(3)
    assert torch.equal(first, drop(hidden))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_type_is_kept(dtype: torch.dtype) -> None:
    assert Dropout(0.5)(torch.ones(3, 5, dtype=dtype)).dtype == dtype


def test_nothing_is_dropped_without_training_or_with_probability_zero() -> None:
    hidden = torch.ones(3, 5)
    assert Dropout(0.5).eval()(hidden) is hidden
    assert Dropout(0.0)(hidden) is hidden


def test_probability_one_drops_everything() -> None:
    assert Dropout(1.0)(torch.ones(3, 5)).eq(0).all()


def test_empty_tensors_pass() -> None:
    assert Dropout(0.5)(torch.ones(0, 5)).shape == (0, 5)


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability(probability: float) -> None:
    with pytest.raises(ValueError, match=f"the probability of dropout is {probability}, but must be in"):
        Dropout(probability)
