"""An update that is not finite is not made, and told with its term and its samples."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fairseq.trainer import Trainer

from fairseq_distil.errors import UserError

DISTILLATION = {"_name": "distillation"}


@pytest.fixture
def trainer(setup_run: Callable, teacher_path: str, tmp_path: Path) -> Trainer:
    run = setup_run({"_name": "teacher_student", "teacher": teacher_path, "dropout": 0.0}, DISTILLATION)
    run.cfg.checkpoint.save_dir = str(tmp_path)
    run.task.load_dataset("train")
    return Trainer(run.cfg, run.task, run.model, run.criterion)


def batches(trainer: Trainer, *samples: list[int]) -> list[dict]:
    dataset = trainer.task.datasets["train"]
    return [dataset.collater([dataset[index] for index in indices]) for indices in samples]


def test_a_loss_that_is_not_finite(trainer: Trainer) -> None:
    trainer.train_step(batches(trainer, [0, 1]))
    good = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    ((name, head),) = [(n, p) for n, p in trainer.model.named_parameters() if n == "masked_lm_head.bias"]
    with torch.no_grad():
        head[7] = torch.nan
    with pytest.raises(UserError) as raised:
        trainer.train_step(batches(trainer, [3, 2], [5, 4, 7]))
    message = str(raised.value)
    assert message.startswith("update 2: mlm_loss is nan in the batch of samples 3, 2. The update was not made, ")
    assert trainer.get_num_updates() == 1
    for other, tensor in trainer.model.state_dict().items():
        if other != name:
            torch.testing.assert_close(tensor, good[other], rtol=0, atol=0)


def test_a_gradient_that_is_not_finite(trainer: Trainer) -> None:
    query = dict(trainer.model.named_parameters())["encoder.layers.0.attention.output.weight"]
    query.register_hook(lambda gradient: gradient * torch.inf)
    expected = (
        "update 1: the gradient of encoder.layers.0.attention.output.weight is not finite in the batch of samples"
    )
    with pytest.raises(UserError, match=expected + " 0, 1, 2, 3, 4, 5, 6, 7 and 2 more. "):
        trainer.train_step(batches(trainer, list(range(10))))


def test_finite_updates_are_made(trainer: Trainer) -> None:
    for index in range(3):
        trainer.train_step(batches(trainer, [index]))
    assert trainer.get_num_updates() == 3


def test_a_teacher_whose_outputs_are_not_finite(trainer: Trainer) -> None:
    with torch.no_grad():
        trainer.model.teacher.encoder.embeddings.layer_norm.bias[3] = torch.inf
    with pytest.raises(UserError, match="^the teacher's outputs are not finite: its weights are damaged"):
        trainer.train_step(batches(trainer, [0, 1]))
    assert trainer.get_num_updates() == 0
