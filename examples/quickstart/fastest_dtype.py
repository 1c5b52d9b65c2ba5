"""Print the type in which this CPU multiplies matrices fastest: bfloat16 or none, which means float32.

A CPU without bfloat16 instructions emulates them, many times slower; measuring is surer than a list of models.
"""

import time

import torch


def seconds_of_product(dtype: torch.dtype) -> float:
    """Best of several timings of one product of the size that training a small encoder has."""
    left, right = torch.randn(4096, 256, dtype=dtype), torch.randn(256, 1024, dtype=dtype)
    timings = []
    for _ in range(8):
        start = time.perf_counter()
        left @ right
        timings.append(time.perf_counter() - start)
    return min(timings)


if __name__ == "__main__":
    print("bfloat16" if seconds_of_product(torch.bfloat16) < seconds_of_product(torch.float32) else "none")
