"""Fast paths do not change the objective: the same losses without them, and curves in bfloat16 that overlay."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from fairseq_distil.benchmarks.curves import training_curves, training_losses
from fairseq_distil.benchmarks.plain_paths import PLAIN
from fairseq_distil.benchmarks.training_parts import TrainingParts
from fairseq_distil.criterions import distillation
from fairseq_distil.data.indexed_writer import MMapIndexedWriter
from fairseq_distil.losses import vocabulary_loss
from fairseq_distil.modules import SelfAttention, cpu_has_bfloat16
from fairseq_distil.modules import linear as linear_module
from fairseq_distil.modules.unpadding import Unpadding
from fairseq_distil.optim import FusedAdamW

UPDATES = 9


def pad(parts: TrainingParts, case: object, data: Path) -> None:
    """Train on lines of different lengths, of which the longest in each batch is as long as the case says."""
    random, eos = np.random.default_rng(3), parts.task.source_dictionary.eos()
    with MMapIndexedWriter(data / "padded", np.uint16) as writer:
        for line in range(4 * case.batch):
            tokens = case.length - 1 if line % case.batch == 0 else random.integers(3, case.length - 1)
            ids = random.integers(parts.task.source_dictionary.nspecial, parts.task.mask_idx, tokens)
            writer.append(np.append(ids[1:], eos), np.array([tokens]))
    parts.task.cfg.sample_break_mode = "eos"
    parts.task.load_dataset("padded")
    parts.task.datasets["train"] = parts.task.datasets["padded"]


def note_calls(owner: object, name: str, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    function = getattr(owner, name)

    def noted(*arguments: object) -> object:
        calls.append(name)
        return function(*arguments)

    monkeypatch.setattr(owner, name, noted)


@pytest.mark.parametrize("is_padded", [False, True], ids=["full", "padded"])
@pytest.mark.parametrize("positions", ["all", "masked"])
def test_losses_without_the_fast_paths_are_the_same(
    positions: str,
    is_padded: bool,
    tiny_case: Callable,
    parts_of: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = tiny_case(positions=positions, batch=4, length=16)  # 64 tokens, of which oneDNN computes products
    row_bytes = 4 * case.vocab
    chunked = partial(vocabulary_loss, chunk_bytes=16 * row_bytes, tile_bytes=3 * row_bytes)
    taken: list[str] = []
    for owner, name in ((linear_module, "_product"), (Unpadding, "without_padding")):
        note_calls(owner, name, taken, monkeypatch)
    monkeypatch.setattr(SelfAttention, "_is_faster_in_steps", lambda *_: True)
    monkeypatch.setattr(distillation, "vocabulary_loss", chunked)

    def losses(is_plain: bool) -> torch.Tensor:
        parts = parts_of(case)
        assert isinstance(parts.optimizer, FusedAdamW)
        if is_padded:
            pad(parts, case, tmp_path)
        taken.clear()
        return training_losses(parts, case, UPDATES, is_plain)

    with_fast_paths = losses(is_plain=False)
    assert set(taken) == {"without_padding" if is_padded else "_product"}
    chosen = [getattr(owner, name) for owner, name, _ in PLAIN]
    torch.testing.assert_close(losses(is_plain=True), with_fast_paths, atol=1e-5, rtol=1e-5)
    assert not taken
    assert with_fast_paths[-1] < 0.9 * with_fast_paths[0]
    assert [getattr(owner, name) for owner, name, _ in PLAIN] == chosen


def test_lines_of_different_lengths_are_padded(tiny_case: Callable, parts_of: Callable, tmp_path: Path) -> None:
    case = tiny_case(batch=4, length=16)
    parts = parts_of(case)
    pad(parts, case, tmp_path)
    dataset = parts.task.dataset("train")
    batch = dataset.collater([dataset[index] for index in range(4)])
    assert batch["net_input"]["has_padding"] and batch["target"].shape == (4, 16)
    assert batch["net_input"]["src_lengths"].unique().numel() > 2


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.01)])
def test_compiled_models_learn_the_same(dtype: str, tolerance: float, tiny_case: Callable, parts_of: Callable) -> None:
    """By torch's own compiler, both models, forwards and backwards."""
    cases = [tiny_case(dtype=dtype, compile=compiled, batch=4, length=16) for compiled in (False, True)]
    compiles = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    parts = [parts_of(case) for case in cases]
    assert list(parts[0].model.state_dict()) == list(parts[1].model.state_dict())
    expected, found = (training_losses(part, case, UPDATES) for part, case in zip(parts, cases, strict=True))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > compiles
    torch.testing.assert_close(found, expected, atol=0, rtol=tolerance)
    assert found[-1] < 0.9 * found[0]


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="bfloat16 is computed in float32 on this CPU")
def test_the_curve_in_bfloat16_overlays(tiny_case: Callable, parts_of: Callable) -> None:
    cases = tiny_case(dtype="float32"), tiny_case(dtype="bfloat16")
    exact, rounded = (training_losses(parts_of(case), case, UPDATES) for case in cases)
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, atol=0, rtol=0.01)
    assert exact[-1] < 0.9 * exact[0]


def test_curves_of_a_training_that_learns_overlay(tiny_case: Callable) -> None:
    case = tiny_case(layers=4, width=32, heads=4, vocab=105, batch=16, length=16)
    curves = dict(training_curves(case, updates=80))
    plain, fast = (torch.tensor(curves[name]) for name in ("float32 without fast paths", "float32"))
    plain_rounded, rounded = (torch.tensor(curves[name]) for name in ("bfloat16 without fast paths", "bfloat16"))
    assert plain[-10:].mean() < 0.6 * plain[:3].mean()
    torch.testing.assert_close(fast, plain, atol=0, rtol=1e-4)
    torch.testing.assert_close(rounded, plain, atol=0, rtol=0.03)
    torch.testing.assert_close(rounded, plain_rounded, atol=0, rtol=0.03)
    assert torch.equal(rounded, fast) != cpu_has_bfloat16()
