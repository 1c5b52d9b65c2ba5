"""First weights of a narrower student: its teacher, seen along the directions that matter most."""

from collections.abc import Mapping

import torch
from torch import Tensor

from .encoder_config import EncoderConfig

WORDS = "encoder.embeddings.word_embeddings.weight"
POSITIONS = "encoder.embeddings.position_embeddings.weight"


def narrow(weights: Mapping[str, Tensor], teacher: EncoderConfig, student: EncoderConfig) -> dict[str, Tensor]:
    """State dict of a student of fewer dimensions, heads and feed-forward units, from one of the teacher's sizes.

    The student's hidden states are the teacher's, projected on ``student.width`` orthonormal directions: that of the
    mean, which LayerNorm takes out, and the principal ones of the word embeddings, which are also what logits compare
    with. Heads and feed-forward units that write most are kept. The hidden states of a teacher which lie within these
    directions, and whose LayerNorms scale all dimensions alike, are reproduced exactly; its masked-LM head is not, for
    its activation is of single dimensions.

    Args:
        weights: with the teacher's width and the student's layers
        teacher: shape that ``weights`` have, but for the layers
        student: shape to make

    Raises:
        ValueError: the student is wider in some way, or its heads have another width
    """
    _require_narrower(teacher, student)
    double = {name: tensor.double() for name, tensor in weights.items()}
    if student.width == teacher.width:  # fewer heads or feed-forward units alone
        directions = torch.eye(student.width, dtype=torch.double, device=double[WORDS].device)
    else:
        directions = principal_directions(double[WORDS], student.width)
    kept_energy = (double[WORDS] @ directions).square().sum() / double[WORDS].square().sum()
    # LayerNorm gives a hidden state the square norm of its width; a part of it is lost.
    scale = (kept_energy * teacher.width / student.width).sqrt()
    narrowed = {}
    for name, tensor in double.items():
        if name.endswith("layer_norm.weight"):
            narrowed[name] = scale * directions.square().T @ tensor
        elif name.endswith("layer_norm.bias"):
            narrowed[name] = directions.T @ tensor
        elif name in (WORDS, POSITIONS):
            narrowed[name] = tensor @ directions
        elif name == "masked_lm_head.dense.weight":
            narrowed[name] = directions.T @ tensor @ directions
        elif name == "masked_lm_head.dense.bias":
            narrowed[name] = directions.T @ tensor
        elif not name.startswith("encoder.layers."):
            narrowed[name] = tensor
    for layer in range(student.layers):
        prefix = f"encoder.layers.{layer}."
        narrowed |= _narrow_attention(double, f"{prefix}attention.", directions, teacher, student)
        narrowed |= _narrow_feed_forward(double, prefix, directions, student.feed_forward_width)
    return {name: narrowed[name].to(tensor.dtype).contiguous() for name, tensor in weights.items()}


def principal_directions(words: Tensor, count: int) -> Tensor:
    """Orthonormal columns ``(width, count)``: the direction of the mean, and the principal ones of the rest.

    They are turned so that the mean of a projected vector's elements stands for the mean of the vector's.

    Args:
        words: ``(vocab, width)``
        count: how many
    """
    width = words.size(1)
    mean_direction = words.new_full((width, 1), width**-0.5)
    rest = words - words @ mean_direction @ mean_direction.T
    second_moments = rest.T @ rest
    second_moments -= (1 + second_moments.trace()) * mean_direction @ mean_direction.T  # last, whatever the rank
    _, vectors = torch.linalg.eigh(second_moments)  # rising eigenvalues
    directions = torch.cat([mean_direction, vectors[:, width - count + 1 :]], 1)
    return directions @ _turn(count, words)


def _turn(count: int, like: Tensor) -> Tensor:
    """An orthogonal matrix ``(count, count)`` whose first row is that of equal elements: a Householder reflection."""
    identity = torch.eye(count, dtype=like.dtype, device=like.device)
    difference = identity[0] - count**-0.5
    if count == 1:
        return identity
    return identity - 2 * torch.outer(difference, difference) / difference.square().sum()


def _narrow_attention(
    weights: Mapping[str, Tensor], prefix: str, directions: Tensor, teacher: EncoderConfig, student: EncoderConfig
) -> dict[str, Tensor]:
    width, heads = teacher.width, teacher.attention_heads
    reading = weights[f"{prefix}query_key_value.weight"].view(3, heads, -1, width)
    reading_bias = weights[f"{prefix}query_key_value.bias"].view(3, heads, -1)
    writing = weights[f"{prefix}output.weight"].view(width, heads, -1)
    size = reading[2].flatten(1).norm(dim=1) * writing.transpose(0, 1).flatten(1).norm(dim=1)
    kept = size.topk(student.attention_heads).indices.sort().values
    return {
        f"{prefix}query_key_value.weight": (reading[:, kept] @ directions).flatten(0, 2),
        f"{prefix}query_key_value.bias": reading_bias[:, kept].flatten(),
        f"{prefix}output.weight": directions.T @ writing[:, kept].flatten(1),
        f"{prefix}output.bias": directions.T @ weights[f"{prefix}output.bias"],
    }


def _narrow_feed_forward(
    weights: Mapping[str, Tensor], prefix: str, directions: Tensor, units: int
) -> dict[str, Tensor]:
    reading, writing = weights[f"{prefix}feed_forward_in.weight"], weights[f"{prefix}feed_forward_out.weight"]
    kept = (reading.norm(dim=1) * writing.norm(dim=0)).topk(units).indices.sort().values
    return {
        f"{prefix}feed_forward_in.weight": reading[kept] @ directions,
        f"{prefix}feed_forward_in.bias": weights[f"{prefix}feed_forward_in.bias"][kept],
        f"{prefix}feed_forward_out.weight": directions.T @ writing[:, kept],
        f"{prefix}feed_forward_out.bias": directions.T @ weights[f"{prefix}feed_forward_out.bias"],
    }


def _require_narrower(teacher: EncoderConfig, student: EncoderConfig) -> None:
    for name in ("width", "feed_forward_width", "attention_heads"):
        if getattr(student, name) > getattr(teacher, name):
            raise ValueError(
                f"the student's {name.replace('_', ' ')} is {getattr(student, name)}, more than the teacher's "
                f"{getattr(teacher, name)}"
            )
    sizes = [config.width // config.attention_heads for config in (teacher, student)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"a head of the teacher is {sizes[0]} wide, of the student {sizes[1]}; give it "
            f"{max(1, student.width // sizes[0])} heads, and a width that is a multiple of {sizes[0]}"
        )
