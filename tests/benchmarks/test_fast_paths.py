"""Fast paths do not change the objective: the same losses without them, and curves in bfloat16 that overlay."""

from collections.abc import Callable
from functools import partial

import pytest
import torch

from fairseq_distil.benchmarks.training_parts import TrainingParts
from fairseq_distil.benchmarks.training_step import TrainingStep
from fairseq_distil.criterions import distillation
from fairseq_distil.losses import reference_vocabulary_loss, vocabulary_loss
from fairseq_distil.models import DistilEncoderModel
from fairseq_distil.modules import SelfAttention, cpu_has_bfloat16
from fairseq_distil.modules import linear as linear_module
from fairseq_distil.modules.dropout import Dropout
from fairseq_distil.optim import FusedAdamW

UPDATES = 9


def curve(parts: TrainingParts, case: object) -> torch.Tensor:
    for module in parts.model.modules():
        if isinstance(module, Dropout):
            module.probability = 0.0  # the paths draw different numbers
    parts.optimizer.set_lr(3e-3)
    step = TrainingStep(parts, case)
    return torch.stack([step() for _ in range(UPDATES)])


@pytest.mark.parametrize("positions", ["all", "masked"])
def test_losses_without_the_fast_paths_are_the_same(
    positions: str, tiny_case: Callable, parts_of: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = tiny_case(positions=positions, batch=4, length=16)  # 64 tokens, which oneDNN takes
    row_bytes = 4 * case.vocab
    chunked = partial(vocabulary_loss, chunk_bytes=16 * row_bytes, tile_bytes=3 * row_bytes)
    products, product = [], linear_module._product
    monkeypatch.setattr(linear_module, "_product", lambda *factors: products.append(1) or product(*factors))
    monkeypatch.setattr(SelfAttention, "_is_faster_in_steps", lambda *_: True)
    monkeypatch.setattr(distillation, "vocabulary_loss", chunked)
    with_fast_paths = curve(parts_of(case), case)
    assert products
    products.clear()
    monkeypatch.setattr(SelfAttention, "_is_faster_in_steps", lambda *_: False)
    monkeypatch.setattr(linear_module, "_suits_onednn", lambda *_: False)
    monkeypatch.setattr(DistilEncoderModel, "padding_mask", lambda model, tokens, *_: tokens.eq(1))
    monkeypatch.setattr(distillation, "vocabulary_loss", reference_vocabulary_loss)
    parts = parts_of(case)
    assert isinstance(parts.optimizer, FusedAdamW)
    for group in parts.optimizer.optimizer.param_groups:
        group["fused"] = False
    torch.testing.assert_close(curve(parts, case), with_fast_paths, atol=1e-5, rtol=1e-5)
    assert not products
    assert with_fast_paths[-1] < 0.9 * with_fast_paths[0]


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="bfloat16 is computed in float32 on this CPU")
def test_the_curve_in_bfloat16_overlays(tiny_case: Callable, parts_of: Callable) -> None:
    exact, rounded = (curve(parts_of(case), case) for case in (tiny_case(dtype="float32"), tiny_case(dtype="bfloat16")))
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, atol=0, rtol=0.01)
    assert exact[-1] < 0.9 * exact[0]
