"""Counted operations: by hand, against the figures for BERT-base, and against torch's own counter on a real step."""

from collections.abc import Callable

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fairseq_distil.benchmarks.step_arithmetic import step_products
from fairseq_distil.benchmarks.training_case import TrainingCase
from fairseq_distil.benchmarks.training_step import TrainingStep


def in_place_product(_: torch.Size, left: torch.Size, right: torch.Size, **__: object) -> int:
    return 2 * left.numel() * right[1]


def linear_product(input: torch.Size, weight: torch.Size, *_: object, **__: object) -> int:
    return 2 * input.numel() * weight[0]


NOT_COUNTED_BY_TORCH = {
    torch.ops.aten.addmm_: in_place_product,
    torch.ops.mkldnn._linear_pointwise: linear_product,
}


def flops(case: TrainingCase, masked_tokens: float) -> float:
    return sum(product.flops for product in step_products(case, masked_tokens))


def test_by_hand() -> None:
    case = TrainingCase(layers=2, width=4, heads=2, vocab=10, batch=3, length=5, positions="masked")
    layer = 2 * 15 * (4 * 12 + 4 * 4 + 4 * 16 + 16 * 4)
    attention = 2 * (2 * 5 * 2 * 5) * 3 * 2  # scores and context, of 3 sequences and 2 heads
    head = 2 * 2 * (4 * 4 + 4 * 10)  # of 2 masked tokens
    assert flops(case, 2) == 2 * (layer + attention) + head + 3 * (layer + attention + head)


def test_padding_is_not_counted() -> None:
    case = TrainingCase(layers=2, width=4, heads=2, vocab=10, batch=3, length=10, padding=0.3)
    assert case.lengths == [10, 7, 4]
    layer = 2 * 21 * (4 * 12 + 4 * 4 + 4 * 16 + 16 * 4)
    attention = 2 * (2 * 2) * (10**2 + 7**2 + 4**2) * 2  # scores and context, of 2 heads that are 2 wide
    head = 2 * 21 * (4 * 4 + 4 * 10)
    assert flops(case, 2) == pytest.approx(2 * (layer + attention) + head + 3 * (layer + attention + head))


@pytest.mark.parametrize(("positions", "vocabulary"), [("all", 384), ("masked", 58)])
def test_bert_base_into_six_layers(positions: str, vocabulary: int) -> None:
    products = step_products(TrainingCase(positions=positions), masked_tokens=0.15 * 2048)

    def giga(wanted: Callable) -> int:
        return round(sum(product.flops for product in products if wanted(product)) / 1e9)

    assert giga(lambda product: product.name.startswith("attention ") and product.name != "attention output") == 24
    assert giga(lambda product: product.part == "teacher body" and _is_linear(product.name)) == 348
    assert giga(lambda product: product.part == "student body" and _is_linear(product.name)) == 522
    assert giga(lambda product: product.name == "vocabulary") == vocabulary


def _is_linear(name: str) -> bool:
    return name not in ("attention scores", "attention context")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"positions": "masked"},
        {"objective": "masked_lm"},
        {"objective": "masked_lm", "encoder": "roberta"},
        {"layers": 5, "batch": 2, "length": 7, "heads": 2, "dtype": "bfloat16"},
    ],
)
def test_equal_to_torchs_counter_on_a_real_step(settings: dict, tiny_case: Callable, parts_of: Callable) -> None:
    case = tiny_case(**settings)
    step = TrainingStep(parts_of(case), case)
    # The plain formula of attention: torch does not count the CPU's fused one.
    with FlopCounterMode(display=False, custom_mapping=NOT_COUNTED_BY_TORCH) as counter, sdpa_kernel(SDPBackend.MATH):
        step()
    assert counter.get_total_flops() == flops(case, step.masked_tokens)
