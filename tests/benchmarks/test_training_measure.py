"""Records: their arithmetic on fixed numbers, and the keys of real ones."""

import math
from collections.abc import Callable

import pytest
import torch

from fairseq_distil.benchmarks import training_case, training_measure
from fairseq_distil.benchmarks.training_measure import measure_step, record
from fairseq_distil.data.masked_lm_dataset import MaskedLMDataset
from fairseq_distil.errors import UserError

KEYS_OF_THE_PEER = {
    "seconds_per_step",
    "tokens_per_second",
    "peak_mib",
    "bf16",
    "positions",
    "batch",
    "length",
    "layers",
    "device",
    "last_loss",
}


def test_arithmetic_of_a_record(tiny_case: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_measure, "product_rates", lambda *_: {"head": 1e9, "vocabulary": 4e9})
    monkeypatch.setattr(training_measure, "step_products", lambda *_: [type("Product", (), {"flops": 2e9})()] * 3)
    measured = {"seconds_per_step": 2.0, "peak_mib": 512.4, "last_loss": 3.5, "computed_in": "float32"}
    found = record(tiny_case(), measured, masked_tokens=4.5)
    assert found["tokens_per_second"] == 15  # 3 sequences of 10
    assert found["gflop_per_step"] == 6
    assert found["gflops"] == 3
    assert found["matmul_peak_gflops"] == 4
    assert found["limit_seconds"] == 1.5
    assert found["step_over_limit"] == pytest.approx(4 / 3, abs=1e-3)
    assert found["percent_of_peak"] == 75
    assert found["mfu_percent"] is None  # no data sheet tells of a CPU
    assert "limit_seconds" not in record(tiny_case(), measured)


def test_model_flop_utilisation_of_a_gpu(tiny_case: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_case, "require_device", lambda _: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100-SXM4-80GB")
    monkeypatch.setattr(training_measure, "product_rates", lambda *_: {"head": 250e12})
    monkeypatch.setattr(training_measure, "step_products", lambda *_: [type("Product", (), {"flops": 78e12})()])
    measured = {"seconds_per_step": 0.5, "peak_mib": 512.4, "last_loss": 3.5, "computed_in": "bfloat16"}
    found = record(tiny_case(device="cuda:1", dtype="bfloat16"), measured, masked_tokens=4.5)
    assert (found["percent_of_peak"], found["mfu_percent"]) == (62.4, 50.0)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_no_measurement(loss: float, tiny_case: Callable) -> None:
    measured = {"seconds_per_step": 2.0, "peak_mib": 512.4, "last_loss": loss, "computed_in": "float32"}
    with pytest.raises(UserError, match=f"the loss is {loss} after 2 steps"):
        record(tiny_case(), measured)


def test_steps_that_took_no_time_are_no_measurement(tiny_case: Callable) -> None:
    measured = {"seconds_per_step": 0.00001, "peak_mib": 512.4, "last_loss": 3.5, "computed_in": "float32"}
    with pytest.raises(UserError, match="a step took 1e-05 seconds, too little to measure; give larger sizes or more"):
        record(tiny_case(), measured)


def test_means_are_of_the_timed_steps_alone(
    tiny_case: Callable, parts_of: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, masked = tiny_case(steps=3), []
    collate = MaskedLMDataset.collater

    def noted(dataset: MaskedLMDataset, samples: list) -> dict:
        batch = collate(dataset, samples)
        masked.append(len(batch["positions"]["masked"]))
        return batch

    moments = iter([10.0, 16.0])
    monkeypatch.setattr(MaskedLMDataset, "collater", noted)
    monkeypatch.setattr(training_measure.time, "perf_counter", lambda: next(moments))
    measured, masked_tokens = training_measure._time_steps(case)
    assert measured["seconds_per_step"] == 2.0
    assert len(masked) == 5 and len(set(masked)) > 1
    assert masked_tokens == sum(masked[2:]) / 3


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_real_measurement(dtype: str, tiny_case: Callable) -> None:
    found = measure_step(tiny_case(dtype=dtype))
    assert found.keys() >= KEYS_OF_THE_PEER
    assert (found["bf16"], found["dtype"]) == (dtype == "bfloat16", dtype)
    assert found["computed_in"] in ("float32", dtype)
    assert found["seconds_per_step"] > 0 and found["peak_mib"] > 0 and found["last_loss"] > 0
    assert set(found["matmul_gflops"]) == {
        "query, key, value",
        "attention output",
        "feed-forward in",
        "feed-forward out",
        "head",
        "vocabulary",
    }
