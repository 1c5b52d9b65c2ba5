import pytest
import torch

from fairseq_distil.modules import autocast, autocasting, cpu_has_bfloat16

INTEL, NO_BFLOAT16 = {"architecture": "x86_64", "avx512_bf16": True}, {"architecture": "x86_64", "avx512_bf16": False}


def product_dtype(dtype: torch.dtype | None) -> torch.dtype:
    with autocast("cpu", dtype):
        return (torch.ones(2, 3) @ torch.ones(3, 2)).dtype


@pytest.mark.parametrize(
    ("capabilities", "has"),
    [
        (INTEL, True),
        (NO_BFLOAT16, False),
        ({"architecture": "x86_64", "amx_bf16": True}, True),
        ({"architecture": "aarch64"}, True),
    ],
)
def test_bfloat16_is_computed_where_there_are_instructions(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict, has: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert cpu_has_bfloat16() is has
    assert product_dtype(torch.bfloat16) == (torch.bfloat16 if has else torch.float32)
    assert product_dtype(None) == torch.float32


def test_the_warning_comes_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    autocasting._warn_of_float32.cache_clear()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: NO_BFLOAT16)
    for _ in range(3):
        autocast("cpu", torch.bfloat16)
        autocast("cuda", None)
    assert [record.message[:46] for record in caplog.records] == ["bfloat16 is computed in float32 here: this CPU"]
