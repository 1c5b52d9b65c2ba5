"""First weights of a narrower student."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fairseq_distil.modules import EncoderConfig, TransformerEncoder, narrow
from fairseq_distil.modules.narrowing import principal_directions

WIDE = EncoderConfig(47, padding_index=1, layers=2, width=20, feed_forward_width=24, attention_heads=5, max_positions=9)
NARROW = replace(WIDE, width=12, attention_heads=3)
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


def test_directions_are_orthonormal_and_keep_the_mean_apart() -> None:
    words = torch.randn(30, 10, generator=torch.Generator().manual_seed(1)).double()
    directions = principal_directions(words, 4)
    torch.testing.assert_close(directions.T @ directions, torch.eye(4).double())
    torch.testing.assert_close((words @ directions).mean(1), words.mean(1) * (10 / 4) ** 0.5)
    centered = words - words.mean(1, keepdim=True)
    lost = centered.square().sum() - (centered @ directions).square().sum()
    eigenvalues = torch.linalg.eigvalsh(centered.T @ centered)
    torch.testing.assert_close(lost, eigenvalues[: 10 - 3].sum())


@pytest.mark.parametrize("words", [torch.zeros(3, 6).double(), torch.ones(1, 6).double()], ids=["zero", "mean alone"])
def test_directions_of_words_of_a_low_rank_are_orthonormal(words: Tensor) -> None:
    directions = principal_directions(words, 3)
    torch.testing.assert_close(directions.T @ directions, torch.eye(3).double())


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


def test_a_teacher_that_uses_few_directions_is_reproduced() -> None:
    """A wide one that is made of a narrow one, with heads and feed-forward units that write nothing added."""
    original = random_encoder(replace(NARROW, feed_forward_width=21), seed=3)
    generator = torch.Generator().manual_seed(4)
    into = principal_directions(torch.randn(60, 20, generator=generator).double(), 12).T  # (12, 20), rows orthonormal
    scale = (20 / 12) ** 0.5
    held = weights_of(original)
    wide = {}
    for name, tensor in held.items():
        if "embeddings.weight" in name:
            wide[name] = tensor @ into
        elif name.endswith("layer_norm.weight"):
            wide[name] = torch.full((20,), tensor[0].item() / scale).double()
        elif name.endswith("query_key_value.weight"):
            heads = torch.zeros(3, 5, 4, 20).double()
            heads[:, [0, 2, 4]] = (tensor @ into).view(3, 3, 4, 20)
            wide[name] = heads.flatten(0, 2)
        elif name.endswith("query_key_value.bias"):
            heads = torch.zeros(3, 5, 4).double()
            heads[:, [0, 2, 4]] = tensor.view(3, 3, 4)
            wide[name] = heads.flatten()
        elif name.endswith("attention.output.weight"):
            heads = torch.zeros(20, 5, 4).double()
            heads[:, [0, 2, 4]] = (into.T @ tensor).view(20, 3, 4)
            wide[name] = heads.flatten(1)
        elif "feed_forward_in" in name:
            wide[name] = torch.zeros(24, *([20] if tensor.ndim == 2 else [])).double()
            wide[name][3:] = tensor @ into if tensor.ndim == 2 else tensor
        elif name.endswith("feed_forward_out.weight"):
            wide[name] = torch.zeros(20, 24).double()
            wide[name][:, 3:] = into.T @ tensor
        else:
            wide[name] = tensor @ into
    student_config = replace(NARROW, feed_forward_width=21)
    student = loaded(student_config, narrow(wide, WIDE, student_config))
    turn = into @ principal_directions(wide["encoder.embeddings.word_embeddings.weight"], 12)
    for ours, expected in zip(student(TOKENS), original(TOKENS), strict=True):
        torch.testing.assert_close(ours, expected @ turn)


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
