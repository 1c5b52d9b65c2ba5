"""One measurement of training, as the record that is printed."""

import gc
import math
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from fairseq_distil.errors import UserError

from .device import synchronize, use_device
from .gpu_peaks import stated_flops
from .peak_memory import peak_mib
from .product_rate import product_rates
from .random_data import write_random_data
from .step_arithmetic import step_products
from .training_case import TrainingCase
from .training_parts import build_parts
from .training_step import TrainingStep

WARM_UP_STEPS = 2


def measure_step(case: TrainingCase) -> dict[str, Any]:
    """Time the bare step.

    Raises:
        UserError: the model refuses a setting, or the loss is not finite in the end
    """
    use_device(case.device)
    measured, masked_tokens = _time_steps(case)
    gc.collect()  # the model, which hooks tie in a circle: the products of the limit need memory too
    return record(case, measured, masked_tokens)


def _time_steps(case: TrainingCase) -> tuple[dict[str, Any], float | None]:
    """What was measured, and the masked tokens of a batch; None where the limit is not known."""
    with tempfile.TemporaryDirectory() as directory:
        write_random_data(Path(directory), case.vocab, case.lengths, case.batch * (WARM_UP_STEPS + case.steps))
        step = TrainingStep(build_parts(case, Path(directory)), case)
        for _ in range(WARM_UP_STEPS):
            loss = step()
        synchronize(case.device)
        step.masked_tokens = 0
        start = time.perf_counter()
        for _ in range(case.steps):
            loss = step()
        synchronize(case.device)
        seconds = (time.perf_counter() - start) / case.steps
    measured = {
        "seconds_per_step": seconds,
        "peak_mib": peak_mib(case.device),
        "last_loss": loss.item(),
        "computed_in": str(step.computed_in).removeprefix("torch."),
    }
    masked_tokens = step.masked_tokens / case.steps if case.added == "none" else None
    return measured, masked_tokens


def record(case: TrainingCase, measured: dict[str, Any], masked_tokens: float | None = None) -> dict[str, Any]:
    """Complete what was measured by what it was measured of, and by the arithmetic limit.

    Args:
        case: what was measured
        measured: ``seconds_per_step``, ``peak_mib``, ``last_loss`` and ``computed_in``
        masked_tokens: of a batch, on average; None: the limit is left out

    Raises:
        UserError: the last loss is not finite, so that what was timed is no training; or the steps took no time
    """
    if not math.isfinite(measured["last_loss"]):
        raise UserError(f"the loss is {measured['last_loss']} after {case.steps} steps, so that no training was timed")
    seconds = measured["seconds_per_step"]
    if round(seconds, 4) <= 0:
        raise UserError(f"a step took {seconds} seconds, too little to measure; give larger sizes or more --steps")
    found = {
        "system": "fairseq_distil" if case.encoder == "distil_encoder" else f"fairseq {case.encoder}",
        "seconds_per_step": round(seconds, 4),
        "tokens_per_second": round(sum(case.lengths) / seconds, 1),
        "peak_mib": round(measured["peak_mib"]),
        "bf16": case.dtype == "bfloat16",
        "computed_in": measured["computed_in"],
        "last_loss": measured["last_loss"],
        **asdict(case),
        "threads": torch.get_num_threads(),
    }
    return found if masked_tokens is None else found | _limit(case, masked_tokens, found["computed_in"], seconds)


def _limit(case: TrainingCase, masked_tokens: float, computed_in: str, seconds: float) -> dict[str, Any]:
    products = step_products(case, masked_tokens)
    rates = product_rates(products, getattr(torch, computed_in), case.device)
    flops, peak = sum(product.flops for product in products), max(rates.values())
    stated = None
    if case.device_type == "cuda":
        stated = stated_flops(torch.cuda.get_device_name(case.device), getattr(torch, computed_in))
    return {
        "gflop_per_step": round(flops / 1e9, 3),
        "gflops": round(flops / seconds / 1e9, 1),
        "matmul_peak_gflops": round(peak / 1e9, 1),
        "matmul_gflops": {name: round(rate / 1e9, 1) for name, rate in rates.items()},
        "limit_seconds": round(flops / peak, 4),
        "step_over_limit": round(seconds * peak / flops, 3),
        "percent_of_peak": round(100 * flops / seconds / peak, 1),
        "mfu_percent": None if stated is None else round(100 * flops / seconds / stated, 1),
    }
