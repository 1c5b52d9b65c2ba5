import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fairseq_distil.modules.linear import Linear, _suits_onednn, linear

SHAPES = [(5,), (3, 5), (2, 7, 5), (64, 5), (2, 64, 5), (1, 1, 5), (0, 5)]


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_torch(
    shape: tuple[int, ...], has_bias: bool, generator: torch.Generator
) -> None:
    factors = _factors(shape, has_bias, generator)
    others = [factor.detach().clone().requires_grad_() for factor in factors]
    output, expected = linear(*factors), F.linear(*others)
    torch.testing.assert_close(output, expected)
    output_gradient = torch.randn(expected.shape, generator=generator)
    torch.testing.assert_close(
        torch.autograd.grad(output, factors, output_gradient), torch.autograd.grad(expected, others, output_gradient)
    )


@pytest.mark.parametrize("needing", [0, 1, 2])
def test_a_factor_alone_may_need_a_gradient(needing: int, generator: torch.Generator) -> None:
    factors = [factor.detach() for factor in _factors((64, 5), True, generator)]
    factors[needing].requires_grad_()
    (gradient,) = torch.autograd.grad(linear(*factors).square().sum(), factors[needing])
    (expected,) = torch.autograd.grad(F.linear(*factors).square().sum(), factors[needing])
    torch.testing.assert_close(gradient, expected, atol=1e-4, rtol=1e-5)  # sums of 64 rows in another order


def test_strides_do_not_matter(generator: torch.Generator) -> None:
    input, weight = torch.randn(5, 64, generator=generator).t(), torch.randn(5, 3, generator=generator).t()
    for bias in (torch.randn(3, 3, generator=generator)[:, 1], torch.randn(1, generator=generator).expand(3)):
        torch.testing.assert_close(linear(input, weight, bias), input @ weight.t() + bias)


def test_few_sizes_go_to_onednn_which_keeps_memory_for_each() -> None:
    weight = torch.ones(3, 5)
    rows = [rows for rows in range(1, 4097) if _suits_onednn(torch.ones(rows, 5), weight, None)]
    assert rows == [64, 128, 256, 512, 1024, 2048, 4096] * torch.backends.mkldnn.is_available()


def test_it_can_be_switched_off() -> None:
    with torch.backends.mkldnn.flags(enabled=False):
        assert not _suits_onednn(torch.ones(64, 5), torch.ones(3, 5), None)


def test_wrong_shapes_are_named_as_torch_names_them() -> None:
    with pytest.raises(RuntimeError, match="64x5 and 4x3"):
        linear(torch.ones(64, 5), torch.ones(3, 4))


def test_a_traced_model_computes_the_same(generator: torch.Generator) -> None:
    layer, hidden = Linear(5, 3), torch.randn(64, 5, generator=generator)
    torch.testing.assert_close(torch.jit.trace(layer, hidden)(hidden), layer(hidden))


def test_a_layer_without_gradients_computes_the_same(generator: torch.Generator) -> None:
    layer, hidden = Linear(5, 3), torch.randn(64, 5, generator=generator)
    with torch.inference_mode():
        torch.testing.assert_close(layer(hidden), hidden @ layer.weight.t() + layer.bias)


def test_transforms_of_functions(generator: torch.Generator) -> None:
    input, weight, bias = (factor.detach() for factor in _factors((2, 64, 5), True, generator))

    def total(weight: Tensor, input: Tensor) -> Tensor:
        return linear(input, weight, bias).square().sum()

    def expected_total(weight: Tensor, input: Tensor) -> Tensor:
        return F.linear(input, weight, bias).square().sum()

    for transform in (
        torch.func.grad,
        torch.func.hessian,
        lambda function: torch.func.vmap(function, (None, 0)),
        lambda function: torch.func.vmap(torch.func.grad(function), (None, 0)),
    ):
        torch.testing.assert_close(transform(total)(weight, input), transform(expected_total)(weight, input))


def test_autocast_decides_on_the_type() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(torch.ones(2, 5), torch.ones(3, 5)).dtype == torch.bfloat16


def test_double_precision_is_kept() -> None:
    assert linear(torch.ones(2, 5, dtype=torch.float64), torch.ones(3, 5, dtype=torch.float64)).dtype == torch.float64


def _factors(shape: tuple[int, ...], has_bias: bool, generator: torch.Generator) -> list[Tensor]:
    shapes = [shape, (3, 5)] + [(3,)] * has_bias
    return [torch.randn(size, generator=generator).requires_grad_() for size in shapes]


def test_autocast_around_the_backward_alone_changes_nothing(generator: torch.Generator) -> None:
    factors = _factors((64, 5), True, generator)
    expected = torch.autograd.grad(linear(*factors).square().sum(), factors)
    loss = linear(*factors).square().sum()
    with torch.autocast("cpu", torch.bfloat16):
        gradients = torch.autograd.grad(loss, factors)
    for gradient, other in zip(gradients, expected, strict=True):
        assert gradient.dtype == torch.float32 and torch.equal(gradient, other)
