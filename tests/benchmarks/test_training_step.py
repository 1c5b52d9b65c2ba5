"""The bare step against fairseq's trainer, and what it notes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fairseq.trainer import Trainer

from fairseq_distil.benchmarks.additions import ADDED
from fairseq_distil.benchmarks.training_parts import build_parts, configuration_of
from fairseq_distil.benchmarks.training_step import TrainingStep


@pytest.mark.parametrize("added", ADDED)
def test_an_update_is_that_of_fairseqs_trainer(
    tiny_case: Callable, parts_of: Callable, tmp_path: Path, added: str
) -> None:
    case = tiny_case(added=added, vocab=70)
    bare, trained = parts_of(case), build_parts(case, tmp_path)
    before = [parameter.detach().clone() for parameter in bare.model.parameters()]
    assert len(list(bare.criterion.parameters())) == (added == "narrower")
    torch.manual_seed(1)  # what the trainer seeds dropout with
    loss = TrainingStep(bare, case)()

    trainer = Trainer(configuration_of(case, tmp_path), trained.task, trained.model, trained.criterion)
    dataset = trained.task.dataset("train")
    (log,) = [trainer.train_step([dataset.collater([dataset[index] for index in range(case.batch)])])]

    assert loss.item() / 0.6931472 == pytest.approx(log["loss"], abs=2e-3)  # rounded, in bits
    assert bare.criterion.state_dict().keys() == trained.criterion.state_dict().keys()
    torch.testing.assert_close(bare.criterion.state_dict(), trained.criterion.state_dict(), atol=0, rtol=0)
    for ours, theirs, first in zip(bare.model.parameters(), trained.model.parameters(), before, strict=True):
        torch.testing.assert_close(ours, theirs, atol=0, rtol=0)
        assert ours.equal(first) != ours.requires_grad
    has_frozen_head = not all(parameter.requires_grad for parameter in bare.model.masked_lm_head.parameters())
    assert has_frozen_head == (added == "for-fine-tuning")


def test_a_batch_without_masked_tokens(tiny_case: Callable, parts_of: Callable) -> None:
    case = tiny_case(batch=1, objective="masked_lm")
    step = TrainingStep(parts_of(case), case)
    dataset = step.parts.task.dataset("train")
    dataset.scheme = replace(dataset.scheme, mask_prob=0.0)
    before = [parameter.detach().clone() for parameter in step.parts.model.parameters()]
    assert step().item() == 0.0
    assert step.masked_tokens == 0
    torch.testing.assert_close(list(step.parts.model.parameters()), before)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_notes_the_type_of_the_tasks_autocast_and_the_masked_tokens(
    dtype: str, tiny_case: Callable, parts_of: Callable
) -> None:
    case = tiny_case(dtype=dtype)
    parts = parts_of(case)
    step = TrainingStep(parts, case)
    inside = []
    parts.model.register_forward_pre_hook(lambda *_: inside.append(torch.is_autocast_enabled("cpu")))
    losses = [step() for _ in range(6)]  # more than there are samples
    assert step.computed_in is (torch.bfloat16 if inside[0] else torch.float32)
    assert 6 * case.batch <= step.masked_tokens <= 2 * 6 * case.batch  # 0.15 of 10 tokens, rounded either way
    assert torch.stack(losses).isfinite().all()
