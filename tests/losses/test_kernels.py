import logging
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from fairseq_distil.losses import kernels
from fairseq_distil.losses.kernels import vocabulary_kernel
from fairseq_distil.losses.vocabulary_tile import TermScales

from .projections import PUBLISHED


@pytest.fixture(autouse=True)
def fresh_cache() -> Iterator[None]:
    kernels._compiled_vocabulary_kernel.cache_clear()
    yield
    kernels._compiled_vocabulary_kernel.cache_clear()


def logits(**attributes: object) -> SimpleNamespace:
    defaults = {"is_cuda": True, "dtype": torch.bfloat16, "device": torch.device("cuda:0"), "size": lambda _: 47}
    return SimpleNamespace(**defaults | attributes)


@pytest.mark.parametrize(
    ("attributes", "teachers", "scales", "has_kernel"),
    [
        ({}, 0, PUBLISHED, True),
        ({}, 1, PUBLISHED, True),
        ({"dtype": torch.float32}, 1, PUBLISHED._replace(top_k=47), True),
        ({"is_cuda": False}, 1, PUBLISHED, False),
        ({"dtype": torch.float64}, 1, PUBLISHED, False),
        ({}, 2, PUBLISHED, False),
        ({}, 1, PUBLISHED._replace(top_k=46), False),
    ],
)
def test_what_has_a_kernel(
    attributes: dict[str, object],
    teachers: int,
    scales: TermScales,
    has_kernel: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernels, "_compiled_vocabulary_kernel", lambda *kind: kind)
    found = vocabulary_kernel(logits(**attributes), teachers, scales)
    kind = torch.device("cuda:0"), attributes.get("dtype", torch.bfloat16), 47
    assert found == (kind if has_kernel else None)


def test_without_triton(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(kernels, "find_spec", lambda _: None)
    with caplog.at_level(logging.INFO, kernels.__name__):
        assert vocabulary_kernel(logits(), 1, PUBLISHED) is None
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_what_cannot_be_compiled_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kernels, "find_spec", lambda _: object())
    monkeypatch.setitem(sys.modules, "fairseq_distil.losses.vocabulary_kernel", None)  # which fails to be imported
    assert [vocabulary_kernel(logits(), 1, PUBLISHED) for _ in range(2)] == [None, None]
    (record,) = caplog.records
    assert record.levelname == "WARNING" and "no triton kernel" in record.getMessage()
