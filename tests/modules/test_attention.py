from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from fairseq_distil.modules import EncoderConfig, SelfAttention
from fairseq_distil.modules.attention import _safe_backends

CONFIG = EncoderConfig(47, padding_index=1, width=12, attention_heads=4, attention_dropout=0.5)


def test_equal_keys_average_the_values_that_may_be_attended_to(generator: torch.Generator) -> None:
    attention = SelfAttention(CONFIG).eval()
    hidden = torch.randn(3, 7, 12, generator=generator)
    mask = torch.ones(3, 1, 1, 7, dtype=torch.bool)
    mask[1, ..., 4:] = False
    with torch.no_grad():
        attention.query_key_value.weight[12:24] = 0  # every key is the bias: equal scores
        values = hidden @ attention.query_key_value.weight[24:].T + attention.query_key_value.bias[24:]
        averages = torch.stack([values[0].mean(0), values[1, :4].mean(0), values[2].mean(0)])
        expected = attention.output(averages)[:, None].expand(3, 7, 12)
        torch.testing.assert_close(attention(hidden, mask), expected)


def test_dropout_of_attention_probabilities_is_for_training_alone(generator: torch.Generator) -> None:
    attention = SelfAttention(CONFIG)
    hidden = torch.randn(3, 7, 12, generator=generator)
    assert not torch.equal(attention(hidden), attention(hidden))
    attention.eval()
    assert torch.equal(attention(hidden), attention(hidden))


@pytest.mark.parametrize("masked", [True, False])
def test_attention_in_steps_is_the_fused_kernels(masked: bool, generator: torch.Generator) -> None:
    attention = SelfAttention(CONFIG).eval()
    query, key, value = torch.randn(3, 2, 4, 7, 3, generator=generator)
    mask = torch.ones(2, 1, 1, 7, dtype=torch.bool)
    mask[1, ..., 5:] = False
    mask = mask if masked else None
    expected = F.scaled_dot_product_attention(query, key, value, mask)
    torch.testing.assert_close(attention._attend_in_steps(query, key, value, mask), expected)


def test_attention_in_steps_keeps_double_precision(generator: torch.Generator) -> None:
    attention = SelfAttention(CONFIG).double()
    query, key, value = torch.randn(3, 2, 4, 5, 3, generator=generator, dtype=torch.float64)
    attention.eval()
    found = attention._attend_in_steps(query, key, value, None)
    torch.testing.assert_close(found, F.scaled_dot_product_attention(query, key, value), atol=1e-14, rtol=1e-13)


def test_a_sequence_of_padding_alone_stays_finite(generator: torch.Generator) -> None:
    hidden = torch.randn(2, 7, 12, generator=generator, requires_grad=True)
    mask = torch.ones(2, 1, 1, 7, dtype=torch.bool)
    mask[1] = False
    mixed = SelfAttention(CONFIG)(hidden, mask)
    (gradient,) = torch.autograd.grad(mixed.sum(), hidden)
    assert mixed.isfinite().all() and gradient.isfinite().all()


def test_large_scores_in_bfloat16_are_as_exact_as_in_the_fused_kernel(generator: torch.Generator) -> None:
    query, key, value = torch.randn(3, 2, 4, 65, 64, generator=generator).bfloat16()
    query *= 3
    exact = F.scaled_dot_product_attention(query.double(), key.double(), value.double())
    fused = F.scaled_dot_product_attention(query, key, value)
    with torch.autocast("cpu", torch.bfloat16):
        in_steps = SelfAttention(CONFIG).eval()._attend_in_steps(query, key, value, None)
    assert in_steps.dtype == torch.bfloat16
    assert (in_steps - exact).norm() < 1.5 * (fused - exact).norm()


def test_attention_in_bfloat16_is_near_to_that_in_float32(generator: torch.Generator) -> None:
    attention = SelfAttention(CONFIG).eval()
    hidden = torch.randn(3, 7, 12, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = attention(hidden)
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.float(), attention(hidden), atol=0.01, rtol=0.02)


def test_an_empty_batch() -> None:
    assert SelfAttention(CONFIG)(torch.zeros(0, 7, 12)).shape == (0, 7, 12)


def test_cudnn_is_excluded_where_a_gpu_gets_a_mask() -> None:
    """Its gradients can be NaN."""
    enabled = torch.backends.cuda.cudnn_sdp_enabled
    before = enabled()
    with _safe_backends(SimpleNamespace(is_cuda=True)):
        assert not enabled()
        assert torch.backends.cuda.flash_sdp_enabled() and torch.backends.cuda.math_sdp_enabled()
    for mask in (None, torch.ones(1, 1, 1, 1, dtype=torch.bool)):
        with _safe_backends(mask):
            assert enabled() == before


class MaskOfGpu(torch.Tensor):
    """One of a CPU that says it is a GPU's, and notes whether cuDNN may take part where attention gets it."""

    is_cuda = True
    cudnn_was_enabled: list[bool] = []

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function is F.scaled_dot_product_attention:
            cls.cudnn_was_enabled.append(torch.backends.cuda.cudnn_sdp_enabled())
        return super().__torch_function__(function, types, args, kwargs or {})


def test_attention_itself_excludes_cudnn(generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MaskOfGpu, "cudnn_was_enabled", [])
    attention, hidden = SelfAttention(CONFIG).eval(), torch.randn(3, 7, 12, generator=generator)
    mask = torch.rand(3, 1, 1, 7, generator=generator) < 0.7
    found = attention(hidden, mask.as_subclass(MaskOfGpu))
    assert MaskOfGpu.cudnn_was_enabled == [False]
    torch.testing.assert_close(found.as_subclass(torch.Tensor), attention(hidden, mask))


@pytest.mark.parametrize(
    ("dtype", "training", "needs_gradient", "dropout", "in_steps"),
    [
        (torch.float32, True, True, 0.5, True),  # the fused kernel of CPUs has no dropout
        (torch.float32, True, True, 0.0, False),
        (torch.float32, False, False, 0.5, False),
        (torch.bfloat16, True, True, 0.0, True),  # and a slow backward in bfloat16
        (torch.bfloat16, False, False, 0.5, False),
    ],
)
def test_which_way_is_taken(
    dtype: torch.dtype, training: bool, needs_gradient: bool, dropout: float, in_steps: bool
) -> None:
    attention = SelfAttention(replace(CONFIG, attention_dropout=dropout)).train(training)
    query = torch.zeros(1, 4, 7, 3, dtype=dtype, requires_grad=needs_gradient)
    assert attention._is_faster_in_steps(query) == in_steps
