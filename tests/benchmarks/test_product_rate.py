"""The rate of products: by a device whose time is known, and on real matrices."""

import pytest
import torch

from fairseq_distil.benchmarks.product_rate import MOST_ROWS, REPETITIONS, product_rates, seconds_of_one
from fairseq_distil.benchmarks.step_arithmetic import Product


class Gpu:
    """Takes a millisecond for a product, after a slow first one; who waits for it loses half of one."""

    def __init__(self) -> None:
        self.time = 0.0
        self.free_at = 0.0
        self.products: list[int] = [0]

    def multiply(self) -> None:
        self.free_at = max(self.free_at, self.time) + (0.001 if len(self.products) > 2 else 0.5)
        self.products[-1] += 1

    def wait(self) -> None:
        self.time = max(self.time, self.free_at) + 0.0005
        self.products.append(0)


def test_a_wait_for_each_product_would_be_counted_as_its_time() -> None:
    gpu = Gpu()
    found = seconds_of_one(gpu.multiply, gpu.wait, at_least=0.02, now=lambda: gpu.time)
    assert found == pytest.approx(0.001, rel=0.05)
    assert max(gpu.products) > 10


def test_on_a_cpu_each_product_is_measured_by_itself() -> None:
    gpu = Gpu()
    found = seconds_of_one(gpu.multiply, gpu.wait, at_least=0.0, now=lambda: gpu.time)
    assert found == pytest.approx(0.0015)
    assert sum(gpu.products) == 2 + REPETITIONS and max(gpu.products) == 1


def test_rates_by_kind_of_product(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    mm = torch.mm
    monkeypatch.setattr(torch, "mm", lambda left, right, out: rows.append(len(left)) or mm(left, right, out=out))
    products = [
        Product("student body", "attention scores", 7, 3, 7, 1),
        Product("student body", "head", 5.4, 3, 3, 1),
        Product("student body", "vocabulary", 3000.0, 3, 11, 1),
        Product("teacher body", "vocabulary", 3000.0, 3, 11, 1),
    ]
    found = product_rates(products, torch.float32, "cpu")
    assert list(found) == ["head", "vocabulary"] and min(found.values()) > 0
    assert set(rows) == {5, MOST_ROWS["cpu"]}


def test_a_gpu_gets_larger_products_than_a_cpu() -> None:
    assert MOST_ROWS["cuda"] >= 4 * MOST_ROWS["cpu"]
