"""First weights of a narrower student: some of its teacher's dimensions, which stand for the others too."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from .encoder import TransformerEncoder
from .encoder_config import EncoderConfig
from .least_squares import least_squares
from .masked_lm_head import MaskedLMHead

WORDS = "encoder.embeddings.word_embeddings.weight"
POSITIONS = "encoder.embeddings.position_embeddings.weight"
RIDGE = 1e-3
TOKENS, LENGTH = 8192, 32
"""Of the sequences of shuffled words that tell how a teacher's units vary: three times the widest usual layer."""


@torch.no_grad()
def narrow(weights: Mapping[str, Tensor], teacher: EncoderConfig, student: EncoderConfig) -> dict[str, Tensor]:
    """State dict of a student of fewer dimensions, heads and feed-forward units, from one of the teacher's sizes.

    The student keeps the dimensions of the hidden states that are largest, and the heads and feed-forward units that
    write what varies most, as they are. Products read the others as what the kept ones predict of them by least
    squares, and logits as their mean. All of this is measured on the teacher's own vocabulary, shuffled, so that no
    data is needed. Sizes that are equal keep their weights unchanged.

    Args:
        weights: with the teacher's width and the student's layers
        teacher: shape that ``weights`` have, but for the layers
        student: shape to make

    Raises:
        ValueError: the student is wider in some way, its heads have another width, or the teacher's hidden states are
            not finite
    """
    _require_narrower(teacher, student)
    teacher = replace(teacher, layers=student.layers)
    model = _model(weights, teacher)
    kept = _kept_units(model, teacher, student)
    dimensions = kept["hidden"]
    narrowed = {
        name: tensor[..., dimensions] if name in (WORDS, POSITIONS) or "layer_norm." in name else tensor
        for name, tensor in weights.items()
    }

    def narrow_product(name: str, product: nn.Linear, inputs: Tensor) -> None:
        read, written = _sides(name, kept, teacher.width)
        weight, bias = _narrow_product(product, inputs, read, written)
        narrowed.update({f"{name}.weight": weight, f"{name}.bias": bias})

    _, features = _read_vocabulary(model, teacher, narrow_product)
    if features is not None:
        lost = features.flatten(0, 1).double().mean(0).index_fill(0, dimensions, 0)
        narrowed["masked_lm_head.bias"] = weights["masked_lm_head.bias"] + weights[WORDS].double() @ lost
    return {name: narrowed[name].to(tensor.dtype).contiguous() for name, tensor in weights.items()}


def _model(weights: Mapping[str, Tensor], config: EncoderConfig) -> nn.ModuleDict:
    with torch.device("meta"):  # draws no random numbers
        model = nn.ModuleDict({"encoder": TransformerEncoder(config)})
        if "masked_lm_head.dense.weight" in weights:
            model["masked_lm_head"] = MaskedLMHead(config)
    exact = torch.promote_types(weights[WORDS].dtype, torch.float32)
    model.load_state_dict({name: weights[name].to(exact) for name in model.state_dict()}, assign=True)
    return model.eval()


def _read_vocabulary(
    model: nn.ModuleDict, config: EncoderConfig, visit: Callable[[str, nn.Linear, Tensor], None]
) -> tuple[Tensor, Tensor | None]:
    """Run the model on its shuffled words, and show the inputs ``(tokens, units)`` of each product.

    Returns:
        The last hidden states, and what the masked-LM head compares with the words, if there is one.
    """
    generator = torch.Generator().manual_seed(0)
    rounds = -(-TOKENS // config.vocabulary_size)
    words = torch.cat([torch.randperm(config.vocabulary_size, generator=generator) for _ in range(rounds)])
    length = min(LENGTH, config.max_positions)
    tokens = words[: TOKENS // length * length].view(-1, length)

    def hook_of(name: str) -> Callable[[nn.Module, tuple[Tensor]], None]:
        return lambda module, inputs: visit(name, module, inputs[0].flatten(0, -2).double())

    products = [(name, one) for name, one in model.named_modules() if isinstance(one, nn.Linear)]
    handles = [product.register_forward_pre_hook(hook_of(name)) for name, product in products]
    (last,) = model["encoder"](
        tokens.to(model["encoder"].embeddings.word_embeddings.weight.device), layers=[config.layers]
    )
    features = model["masked_lm_head"].transform(last) if "masked_lm_head" in model else None
    for handle in handles:
        handle.remove()
    return last, features


def _kept_units(model: nn.ModuleDict, teacher: EncoderConfig, student: EncoderConfig) -> dict[str, Tensor]:
    """Indices of the dimensions, as ``hidden``, and of the inputs of each product that writes to them."""
    spread: dict[str, Tensor] = {}
    squares: list[Tensor] = []

    def measure(name: str, _: nn.Linear, inputs: Tensor) -> None:
        spread[name] = inputs.std(0)
        if name.endswith(("query_key_value", "feed_forward_in")):
            squares.append(inputs.square().mean(0))

    last, _ = _read_vocabulary(model, teacher, measure)
    squares.append(last.flatten(0, 1).double().square().mean(0))
    if not all(square.isfinite().all() for square in squares):
        raise ValueError("the teacher's hidden states are not finite")
    kept = {"hidden": _largest(sum(square / square.mean() for square in squares), student.width)}
    head_width = teacher.width // teacher.attention_heads
    for name, module in model["encoder"].named_modules(prefix="encoder"):
        if not name.endswith(("attention.output", "feed_forward_out")):
            continue
        written = (spread[name] * module.weight[kept["hidden"]].norm(dim=0)).square()
        if name.endswith("feed_forward_out"):
            kept[name] = _largest(written, student.feed_forward_width)
        else:
            heads = _largest(written.view(-1, head_width).sum(1), student.attention_heads)
            kept[name] = torch.arange(teacher.width, device=heads.device).view(-1, head_width)[heads].flatten()
    return kept


def _sides(name: str, kept: Mapping[str, Tensor], width: int) -> tuple[Tensor, Tensor]:
    """Indices of the inputs and outputs of a product that are kept."""
    hidden = kept["hidden"]
    if name in kept:
        return kept[name], hidden
    if name.endswith("feed_forward_in"):
        return hidden, kept[name.removesuffix("in") + "out"]
    if name.endswith("query_key_value"):
        heads = kept[name.removesuffix("query_key_value") + "output"]
        return hidden, torch.cat([heads + part * width for part in range(3)])
    return hidden, hidden


def _largest(sizes: Tensor, count: int) -> Tensor:
    return sizes.topk(count).indices.sort().values


def _narrow_product(product: nn.Linear, inputs: Tensor, read: Tensor, written: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of a product that reads the inputs ``read`` alone, and writes the outputs ``written``."""
    weight, bias = product.weight[written].double(), product.bias[written].double()
    is_lost = torch.ones(inputs.size(1), dtype=torch.bool, device=inputs.device)
    is_lost[read] = False
    if not is_lost.any():
        return weight, bias
    mean = inputs.mean(0)
    centered = inputs - mean
    prediction = least_squares(centered[:, read], centered[:, is_lost], RIDGE)
    of_lost = weight[:, is_lost] @ prediction.T
    return weight[:, read] + of_lost, bias + weight[:, is_lost] @ mean[is_lost] - of_lost @ mean[read]


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
