"""How fast this machine multiplies matrices, at the shapes of a step."""

import time
from collections.abc import Callable, Iterable

import torch

from fairseq_distil.modules.linear import linear

from .step_arithmetic import Product

REPETITIONS = 5
MOST_ROWS = 2048
"""More do not make a product faster, only its measurement slower."""


def product_rates(products: Iterable[Product], dtype: torch.dtype, device: str) -> dict[str, float]:
    """Best rate of each kind of product but attention's, which are not one large product.

    Args:
        products: of a step
        dtype: of the factors
        device: where to multiply

    Returns:
        operations a second by the product's name
    """
    kinds = {product.name: product for product in products if product.name not in ATTENTION}
    return {name: _best_rate(product, dtype, device) for name, product in kinds.items()}


ATTENTION = ("attention scores", "attention context")


def _best_rate(product: Product, dtype: torch.dtype, device: str) -> float:
    rows = max(1, min(MOST_ROWS, round(product.rows)))
    left = torch.randn(rows, product.inner, device=device).to(dtype)
    right = torch.randn(product.columns, product.inner, device=device).to(dtype)
    result = torch.empty(rows, product.columns, device=device, dtype=dtype)
    ways = (lambda: torch.mm(left, right.t(), out=result), lambda: linear(left, right))
    fastest = min(_least_seconds(way, device) for way in ways)
    return 2 * rows * product.inner * product.columns / fastest


def _least_seconds(multiply: Callable[[], object], device: str) -> float:
    seconds = []
    for _ in range(1 + REPETITIONS):
        _synchronize(device)
        start = time.perf_counter()
        multiply()
        _synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def _synchronize(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
