"""The type of matrix products."""

import logging
from functools import cache

import torch

logger = logging.getLogger(__name__)


def autocast(device_type: str, dtype: torch.dtype | None) -> torch.autocast:
    """Autocast to ``dtype``; to none on a CPU that would have to emulate it.

    Args:
        device_type: ``cpu`` or ``cuda``
        dtype: type of matrix products; None: that of their factors
    """
    if device_type == "cpu" and dtype == torch.bfloat16 and not cpu_has_bfloat16():
        _warn_of_float32()
        dtype = None
    return torch.autocast(device_type, dtype=dtype, enabled=dtype is not None)


def cpu_has_bfloat16() -> bool:
    """Whether this CPU has instructions for products of bfloat16; a processor that is not x86 counts as having them.

    Without them, products of bfloat16 take about seven times as long as those of float32, and are less exact.
    """
    capabilities = torch.cpu.get_capabilities()
    if capabilities.get("architecture") not in ("x86_64", "AMD64"):
        return True
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@cache
def _warn_of_float32() -> None:
    logger.warning(
        "bfloat16 is computed in float32 here: this CPU has no bfloat16 instructions and would be slower with it"
    )
