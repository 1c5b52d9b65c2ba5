"""First weights of a narrower student."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fairseq_distil.modules import EncoderConfig, TransformerEncoder, narrow

WIDE = EncoderConfig(47, padding_index=1, layers=2, width=20, feed_forward_width=24, attention_heads=5, max_positions=9)
NARROW = replace(WIDE, width=12, attention_heads=3)
DIMENSIONS = [0, 1, 3, 4, 6, 8, 9, 13, 14, 15, 17, 19]
HEADS = [0, 2, 4]
TOKENS = torch.tensor([[0, 7, 9, 11, 2], [0, 46, 5, 3, 2]])


def random_encoder(config: EncoderConfig, seed: int) -> TransformerEncoder:
    generator = torch.Generator().manual_seed(seed)
    encoder = TransformerEncoder(config).double().eval()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            is_scale = name.endswith("layer_norm.weight")
            parameter.copy_(
                torch.full_like(parameter, 1.3) if is_scale else torch.randn(parameter.shape, generator=generator)
            )
    return encoder


def weights_of(encoder: TransformerEncoder) -> dict[str, Tensor]:
    return {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}


def loaded(config: EncoderConfig, weights: dict[str, Tensor]) -> TransformerEncoder:
    encoder = TransformerEncoder(config).double().eval()
    encoder.load_state_dict({name.removeprefix("encoder."): tensor for name, tensor in weights.items()})
    return encoder


def test_equal_sizes_leave_all_as_it_is() -> None:
    weights = weights_of(random_encoder(WIDE, seed=2))
    narrowed = narrow(weights, WIDE, WIDE)
    assert list(narrowed) == list(weights)
    for name, tensor in weights.items():
        assert torch.equal(narrowed[name], tensor), name


def test_fewer_feed_forward_units_alone_leave_the_rest_as_it_is() -> None:
    """Of a teacher with three units that write nothing, whose LayerNorms scale each dimension in its own way."""
    teacher = random_encoder(WIDE, seed=2)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in teacher.named_parameters():
            if name.endswith("layer_norm.weight"):
                parameter.copy_(torch.randn(20, generator=generator))
        for layer in teacher.layers:
            layer.feed_forward_out.weight[:, [0, 5, 23]] = 0
    student_config = replace(WIDE, feed_forward_width=21)
    student = loaded(student_config, narrow(weights_of(teacher), WIDE, student_config))
    for ours, expected in zip(student(TOKENS), teacher(TOKENS), strict=True):
        torch.testing.assert_close(ours, expected)


def test_a_lost_unit_that_is_constant_is_in_the_bias() -> None:
    weights = weights_of(random_encoder(WIDE, seed=4))
    prefix = "encoder.layers.0.feed_forward_"
    weights[f"{prefix}in.weight"][11], weights[f"{prefix}in.bias"][11] = 0, 2.0
    narrowed = narrow(weights, WIDE, replace(WIDE, feed_forward_width=23))
    kept = [unit for unit in range(24) if unit != 11]
    assert torch.equal(narrowed[f"{prefix}in.weight"], weights[f"{prefix}in.weight"][kept])
    torch.testing.assert_close(narrowed[f"{prefix}out.weight"], weights[f"{prefix}out.weight"][:, kept])
    constant = 2 * 0.9772498680518208 * weights[f"{prefix}out.weight"][:, 11]  # gelu(2)
    torch.testing.assert_close(narrowed[f"{prefix}out.bias"], weights[f"{prefix}out.bias"] + constant)


def test_a_lost_unit_that_is_as_another_is_predicted_of_those_kept() -> None:
    """Unit 7 is as unit 3 and writes least: what it writes is added to what unit 3 does."""
    config = replace(WIDE, layers=1)
    weights = weights_of(random_encoder(config, seed=4))
    weights["encoder.layers.0.attention_layer_norm.bias"].zero_()  # so that no unit is off for all words
    prefix = "encoder.layers.0.feed_forward_"
    for name in ("in.weight", "in.bias"):
        weights[prefix + name][7] = weights[prefix + name][3]
    weights[f"{prefix}out.weight"][:, 7] *= 0.2
    student_config = replace(config, feed_forward_width=23)
    narrowed = narrow(weights, config, student_config)
    kept = [unit for unit in range(24) if unit != 7]
    assert torch.equal(narrowed[f"{prefix}in.weight"], weights[f"{prefix}in.weight"][kept])
    words = torch.arange(45).view(5, 9)
    expected = loaded(config, weights)(words)[1]
    torch.testing.assert_close(loaded(student_config, narrowed)(words)[1], expected, rtol=0, atol=3e-3)
    written_by_7 = weights[f"{prefix}out.weight"][:, 7].clone()
    weights[f"{prefix}out.weight"][:, 7] = 0
    assert (loaded(config, weights)(words)[1] - expected).abs().max() > 0.1
    weights[f"{prefix}out.weight"][:, 3] += written_by_7
    torch.testing.assert_close(
        narrowed[f"{prefix}out.weight"], weights[f"{prefix}out.weight"][:, kept], rtol=0, atol=0.02
    )


def widened(original: dict[str, Tensor]) -> dict[str, Tensor]:
    """A wide teacher of a narrow one, with dimensions that are zero, and heads and units that write nothing, added."""
    generator = torch.Generator().manual_seed(5)
    heads = torch.arange(20).view(5, 4)[HEADS].flatten()
    sides = {
        "query_key_value": (torch.cat([heads, heads + 20, heads + 40]), DIMENSIONS, 60, 20),
        "attention.output": (DIMENSIONS, heads, 20, 20),
        "feed_forward_in": (list(range(3, 24)), DIMENSIONS, 24, 20),
        "feed_forward_out": (DIMENSIONS, list(range(3, 24)), 20, 24),
    }
    wide = {}
    for name, tensor in original.items():
        module = next((module for module in sides if f"{module}." in name), None)
        if module is None:  # embeddings and LayerNorms
            wide[name] = torch.zeros(*tensor.shape[:-1], 20).double()
            wide[name][..., DIMENSIONS] = tensor
            continue
        out, read, outputs, inputs = sides[module]
        if tensor.ndim == 1:
            wide[name] = torch.zeros(outputs).double()
            wide[name][out] = tensor
        else:
            wide[name] = torch.zeros(outputs, inputs).double()
            if outputs > 20:  # what the added ones read
                wide[name] = torch.randn(outputs, inputs, generator=generator).double()
            wide[name][torch.as_tensor(out)[:, None], torch.as_tensor(read)] = tensor
    return wide


def test_a_narrow_encoder_is_found_again_in_a_wide_one() -> None:
    config = replace(NARROW, feed_forward_width=21)
    original = weights_of(random_encoder(config, seed=3))
    narrowed = narrow(widened(original), WIDE, config)
    assert list(narrowed) == list(original)
    for name, tensor in original.items():
        torch.testing.assert_close(narrowed[name], tensor, msg=name)


def test_logits_keep_the_mean_of_what_lost_features_add() -> None:
    """Of a head whose features are the same for any token."""
    weights = weights_of(random_encoder(WIDE, seed=6))
    generator = torch.Generator().manual_seed(8)
    features = torch.randn(20, generator=generator).double()
    bias = torch.randn(47, generator=generator).double()
    weights |= {
        "masked_lm_head.dense.weight": torch.zeros(20, 20).double(),
        "masked_lm_head.dense.bias": torch.zeros(20).double(),
        "masked_lm_head.layer_norm.weight": torch.ones(20).double(),
        "masked_lm_head.layer_norm.bias": features,
        "masked_lm_head.bias": bias,
    }
    narrowed = narrow(weights, WIDE, NARROW)
    word = "encoder.embeddings.word_embeddings.weight"
    logits = narrowed[word] @ narrowed["masked_lm_head.layer_norm.bias"] + narrowed["masked_lm_head.bias"]
    torch.testing.assert_close(logits, weights[word] @ features + bias)
    assert narrowed["masked_lm_head.dense.weight"].shape == (12, 12)


def test_no_random_number_is_drawn_and_none_matters() -> None:
    weights = weights_of(random_encoder(WIDE, seed=6))
    before = torch.get_rng_state()
    first = narrow(weights, WIDE, NARROW)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(7)
    second = narrow(weights, WIDE, NARROW)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_teacher_whose_states_are_not_finite() -> None:
    weights = weights_of(random_encoder(WIDE, seed=6))
    weights["encoder.layers.1.feed_forward_out.bias"][4] = torch.inf
    with pytest.raises(ValueError, match="the teacher's hidden states are not finite"):
        narrow(weights, WIDE, NARROW)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"width": 24, "attention_heads": 6}, "the student's width is 24, more than the teacher's 20"),
        ({"feed_forward_width": 25}, "the student's feed forward width is 25, more than"),
        (
            {"width": 10, "attention_heads": 5},
            "a head of the teacher is 4 wide, of the student 2; give it 2 heads",
        ),
    ],
)
def test_errors(sizes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        narrow({}, WIDE, replace(WIDE, **sizes))
