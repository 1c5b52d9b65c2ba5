from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fairseq_distil.modules import EncoderConfig, SelfAttention, TransformerEncoder
from fairseq_distil.modules import attention as attention_module
from fairseq_distil.modules import encoder as encoder_module
from fairseq_distil.modules.attention import OLDEST_WITH_FLASH_ATTENTION
from fairseq_distil.modules.unpadding import Unpadding

CONFIG = EncoderConfig(47, padding_index=1, layers=3, width=12, feed_forward_width=20, attention_heads=4, dropout=0.0)
LENGTHS = torch.tensor([7, 1, 0, 4])
MASK = torch.arange(7) >= LENGTHS[:, None]


@pytest.mark.parametrize("token_count", [None, 12])
def test_tokens_are_taken_in_order_and_put_back(token_count: int | None) -> None:
    unpadding = Unpadding(MASK, token_count)
    padded = torch.arange(28.0).view(4, 7, 1)
    tokens = unpadding.without_padding(padded)
    assert tokens.squeeze(1).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 21, 22, 23, 24]
    assert torch.equal(unpadding.with_padding(tokens), padded.masked_fill(MASK[..., None], 0))
    assert unpadding.sequence_ends.tolist() == [0, 7, 8, 8, 12] and unpadding.sequence_ends.dtype == torch.int32
    assert unpadding.length == 7


def test_gradients_are_the_tokens_own(generator: torch.Generator) -> None:
    unpadding = Unpadding(MASK)
    padded = torch.randn(4, 7, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    tokens = torch.randn(12, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unpadding.without_padding, padded)
    assert torch.autograd.gradcheck(unpadding.with_padding, tokens)


def states_and_gradients(encoder: TransformerEncoder, tokens: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Of the tokens alone, and of a loss of theirs."""
    states = [state[~MASK] for state in encoder(tokens, MASK)]
    loss = sum((number * state).square().sum() for number, state in enumerate(states, 1))
    return states, list(torch.autograd.grad(loss, tuple(encoder.parameters())))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("attention_dropout", [0.0, 0.1])
def test_an_encoder_computes_the_same_without_padding(
    training: bool, attention_dropout: float, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attention pads again, so that its dropout draws the same numbers."""
    encoder = TransformerEncoder(replace(CONFIG, attention_dropout=attention_dropout)).double().train(training)
    tokens = torch.randint(5, 47, (4, 7), generator=generator).masked_fill(MASK, 1)
    rows_seen: list[torch.Size] = []
    encoder.layers[1].feed_forward_in.register_forward_pre_hook(lambda _, inputs: rows_seen.append(inputs[0].shape))
    torch.manual_seed(3)
    found = states_and_gradients(encoder, tokens)
    monkeypatch.setattr(encoder_module, "_unpadding", lambda *_: None)
    torch.manual_seed(3)
    torch.testing.assert_close(found, states_and_gradients(encoder, tokens), atol=1e-12, rtol=1e-10)
    assert rows_seen == [(12, 12), (4, 7, 12)]


def test_a_batch_of_padding_alone_is_finite() -> None:
    encoder = TransformerEncoder(CONFIG)
    padding_mask = torch.ones(2, 3, dtype=torch.bool)
    *_, hidden = encoder(torch.ones(2, 3, dtype=torch.int64), padding_mask)
    hidden.sum().backward()
    assert not hidden.any()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in encoder.parameters())


@pytest.mark.parametrize(
    ("device", "token_count", "compiles", "unpads"),
    [
        ("cpu", None, False, True),
        ("cpu", 12, False, True),
        ("meta", None, False, False),  # it would have to be waited for
        ("meta", 12, False, True),
        ("cpu", 12, True, False),  # one graph for any number of tokens
    ],
)
def test_where_padding_is_left_out(
    device: str, token_count: int | None, compiles: bool, unpads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiles)
    unpadding = encoder_module._unpadding(MASK.to(device), token_count)
    assert (unpadding is not None) == unpads


def test_a_compiled_encoder_is_one_graph_for_any_number_of_tokens(generator: torch.Generator) -> None:
    encoder, graphs = TransformerEncoder(CONFIG).eval(), []
    encoder.compile(dynamic=False, backend=lambda graph, _: graphs.append(graph) or graph.forward)
    tokens = torch.randint(5, 47, (4, 7), generator=generator)
    for lengths in (LENGTHS, LENGTHS.clamp(max=3)):
        padding_mask = torch.arange(7) >= lengths[:, None]
        *_, hidden = encoder(tokens, padding_mask, None, int(lengths.sum()))
        assert hidden[2].isfinite().all()
    assert len(graphs) == 1


def attention_of_each(query: Tensor, key: Tensor, value: Tensor, ends: Tensor, *_: object) -> Tensor:
    """What the flash kernel of GPUs computes of ``(tokens, heads, head width)``, which no CPU has."""
    parts = [vectors.tensor_split(ends[1:-1].tolist()) for vectors in (query, key, value)]
    each = [[vectors.transpose(0, 1) for vectors in sequence] for sequence in zip(*parts, strict=True)]
    return torch.cat([F.scaled_dot_product_attention(*vectors).transpose(0, 1) for vectors in each])


def test_the_kernel_without_padding_gets_its_sequences(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    attention, unpadding = SelfAttention(CONFIG).eval(), Unpadding(MASK)
    tokens = torch.randn(12, 12, generator=generator)
    expected = attention(tokens, unpadding.is_token[:, None, None], unpadding)
    monkeypatch.setattr(SelfAttention, "_has_kernel_without_padding", lambda *_: True)
    monkeypatch.setattr(attention_module, "varlen_attn", attention_of_each)
    torch.testing.assert_close(attention(tokens, None, unpadding), expected)


@pytest.mark.parametrize(
    ("tensor", "attention", "capability", "has_kernel"),
    [
        ({}, {}, (8, 0), True),
        ({"dtype": torch.float16}, {}, (9, 0), True),
        ({"is_cuda": False}, {}, (8, 0), False),
        ({"dtype": torch.float32}, {}, (8, 0), False),
        ({}, {}, (7, 5), False),
        ({}, {"attention_heads": 3}, (8, 0), True),  # 16 wide
        ({}, {"attention_heads": 4}, (8, 0), False),  # 12 wide
        ({}, {"width": 528, "attention_heads": 2}, (8, 0), False),  # 264 wide
        ({}, {"attention_dropout": 0.1}, (8, 0), False),
    ],
)
def test_which_sequences_the_kernel_without_padding_takes(
    tensor: dict, attention: dict, capability: tuple[int, int], has_kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    config = replace(CONFIG, **{"width": 48, "attention_heads": 2, "attention_dropout": 0.0, **attention})
    vectors = SimpleNamespace(**{"is_cuda": True, "dtype": torch.bfloat16, "device": "cuda:0", **tensor})
    vectors.size = lambda _: 3 * config.width
    assert SelfAttention(config)._has_kernel_without_padding(vectors) == has_kernel


@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < OLDEST_WITH_FLASH_ATTENTION,
    reason="flash attention of sequences without padding needs a GPU of compute capability 8.0",
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_kernel_without_padding_is_attention_with_a_mask(dtype: torch.dtype, generator: torch.Generator) -> None:
    attention = SelfAttention(EncoderConfig(47, padding_index=1, width=64, attention_heads=2)).eval().to("cuda", dtype)
    unpadding = Unpadding(MASK.cuda(), token_count=12)
    tokens = torch.randn(12, 64, generator=generator).to("cuda", dtype).requires_grad_()
    results = []
    for has_kernel in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not has_kernel:
                patch.setattr(SelfAttention, "_has_kernel_without_padding", lambda *_: False)
            found = attention(tokens, unpadding.is_token[:, None, None], unpadding)
        results.append((found, *torch.autograd.grad(found.float().square().sum(), tokens)))
    torch.testing.assert_close(*results, atol=0.02, rtol=0.02)
