"""Which device is meant; no GPU is needed to tell."""

import pytest
import torch

from fairseq_distil.benchmarks.device import _require_gpu, environment_with_one_gpu, require_device
from fairseq_distil.errors import UserError


@pytest.mark.parametrize(("device", "count"), [("cuda", 1), ("cuda:0", 1), ("cuda:1", 2)])
def test_a_gpu_that_is_there(device: str, count: int) -> None:
    _require_gpu(torch.device(device), count)


@pytest.mark.parametrize(
    ("device", "count", "message"),
    [
        ("cuda", 0, "--device cuda: torch finds no GPU here; use --device cpu"),
        ("cuda:2", 2, "--device cuda:2: torch finds 2 here, of which the last is cuda:1"),
    ],
)
def test_a_gpu_that_is_not(device: str, count: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _require_gpu(torch.device(device), count)


def test_a_cpu_has_no_number() -> None:
    require_device("cpu")
    with pytest.raises(UserError, match="--device cpu:1 is not supported; use cpu or cuda"):
        require_device("cpu:1")


@pytest.mark.parametrize(
    ("device", "before", "visible"),
    [
        ("cpu", None, None),
        ("cpu", "1", "1"),
        ("cuda", None, "0"),
        ("cuda:1", None, "1"),
        ("cuda", "3,5", "3"),
        ("cuda:1", "3, 5", "5"),
        ("cuda:1", "GPU-a,GPU-b", "GPU-b"),
    ],
)
def test_fairseq_sees_one_gpu(device: str, before: str | None, visible: str | None) -> None:
    environment = {"PATH": "/bin"} | ({} if before is None else {"CUDA_VISIBLE_DEVICES": before})
    found = environment_with_one_gpu(device, environment)
    assert found.pop("CUDA_VISIBLE_DEVICES", None) == visible
    assert found == {"PATH": "/bin"}
