"""Memory that runs out is a mistake of the user."""

import logging
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from fairseq_distil.benchmarks.exit_status import quiet_exit_status


@pytest.fixture(autouse=True)
def levels_of_messages() -> Iterator[None]:
    """Those of other tests, which a benchmark turns off for all of its process."""
    loggers = [logging.getLogger(name) for name in ("", "fairseq", "fairseq_distil")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def raise_cuda_error() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation")


@pytest.mark.parametrize(
    ("benchmark", "reason"),
    [
        (lambda: torch.empty(2**60), "can't allocate memory"),
        (lambda: np.empty(2**56), "Unable to allocate"),
        (raise_cuda_error, "CUDA out of memory. Tried to allocate 2.00 GiB."),
    ],
)
def test_out_of_memory(benchmark, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert quiet_exit_status(benchmark) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: out of memory, give smaller sizes: ")
    assert reason in message and message.count("\n") == 1


def test_other_errors_are_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        quiet_exit_status(lambda: torch.ones(2, 3) @ torch.ones(2, 3))
