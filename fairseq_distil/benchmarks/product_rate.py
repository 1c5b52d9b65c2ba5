"""How fast this machine multiplies matrices, at the shapes of a step."""

import math
import time
from collections.abc import Callable, Iterable
from functools import partial

import torch

from fairseq_distil.modules.linear import linear

from .device import synchronize
from .step_arithmetic import Product

REPETITIONS = 5
MOST_ROWS = {"cpu": 2048, "cuda": 16384}
"""More do not make a product faster, only its measurement slower."""
LEAST_SECONDS = {"cpu": 0.0, "cuda": 0.02}
"""Of the products between two waits. A GPU computes one while it is given the next; waiting for each of them would
take as long as some of them do."""
ATTENTION = ("attention scores", "attention context")


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


def _best_rate(product: Product, dtype: torch.dtype, device: str) -> float:
    device_type = torch.device(device).type
    rows = max(1, min(MOST_ROWS[device_type], round(product.rows)))
    left = torch.randn(rows, product.inner, device=device).to(dtype)
    right = torch.randn(product.columns, product.inner, device=device).to(dtype)
    result = torch.empty(rows, product.columns, device=device, dtype=dtype)
    ways = (lambda: torch.mm(left, right.t(), out=result), lambda: linear(left, right))
    wait = partial(synchronize, device)
    fastest = min(seconds_of_one(way, wait, LEAST_SECONDS[device_type]) for way in ways)
    return 2 * rows * product.inner * product.columns / fastest


def seconds_of_one(
    multiply: Callable[[], object],
    wait: Callable[[], None],
    at_least: float,
    now: Callable[[], float] = time.perf_counter,
) -> float:
    """The best of some measurements.

    Args:
        multiply: gives the device one product
        wait: until the device has done what it was given
        at_least: seconds that one measurement takes, of as many products as that needs
        now: the time in seconds
    """

    def mean_of(count: int) -> float:
        wait()
        start = now()
        for _ in range(count):
            multiply()
        wait()
        return (now() - start) / count

    mean_of(1)  # to warm up
    count = max(1, math.ceil(at_least / mean_of(1)))
    return min(mean_of(count) for _ in range(REPETITIONS))
