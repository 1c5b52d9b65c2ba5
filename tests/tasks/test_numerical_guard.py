"""An update that is not finite is not made, and told with its term and its samples."""

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.optim import AMPOptimizer, FP16Optimizer
from fairseq.trainer import Trainer

from fairseq_distil.errors import UserError

from ..conftest import TINY

DISTILLATION = {"_name": "distillation"}


@pytest.fixture
def make_trainer(setup_run: Callable, teacher_path: str, tmp_path: Path) -> Callable[..., Trainer]:
    def make(width: int = 12, **common: Any) -> Trainer:
        sizes = TINY | {"encoder_embed_dim": width, "encoder_attention_heads": width // 3}
        run = setup_run({"_name": "teacher_student", "teacher": teacher_path, **sizes}, DISTILLATION)
        run.cfg.checkpoint.save_dir = str(tmp_path)
        run.cfg.common.update(common)
        run.task.load_dataset("train")
        return run.trainer()

    return make


@pytest.fixture
def trainer(make_trainer: Callable[..., Trainer]) -> Trainer:
    return make_trainer()


@pytest.fixture
def scaling_trainer(make_trainer: Callable[..., Trainer]) -> Trainer:
    """With ``--amp``, whose loss scaling fairseq knows on GPUs alone."""
    trainer = make_trainer(amp=True)
    assert isinstance(trainer.optimizer, AMPOptimizer)
    trainer.optimizer._grad_scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    return trainer


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def spoil_gradient(trainer: Trainer, times: int) -> str:
    """Make the gradient of a parameter infinite in its first backwards; returns its name."""
    name = "encoder.layers.0.attention.output.weight"
    left = iter(range(times))
    spoil = lambda gradient: gradient * torch.inf if next(left, None) is not None else gradient  # noqa: E731
    dict(trainer.model.named_parameters())[name].register_hook(spoil)
    return name


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


def add_infinity(trainer: Trainer, times: int) -> None:
    """To the first losses; it has no gradient."""
    left = iter(range(times))

    def add(_criterion: Any, _arguments: Any, outputs: tuple) -> tuple:
        loss, size, logged = outputs
        if next(left, None) is None:
            return outputs
        return loss + torch.inf, size, logged | {"loss": loss.detach() + torch.inf}

    trainer.criterion.register_forward_hook(add)


def test_an_infinite_loss_of_finite_gradients(trainer: Trainer) -> None:
    good = weights(trainer)
    add_infinity(trainer, times=1)
    expected = "^update 1: loss is inf in the batch of samples 3, 2. The update was not made, "
    with pytest.raises(UserError, match=expected):
        trainer.train_step(batches(trainer, [3, 2], [5, 4]))
    torch.testing.assert_close(weights(trainer), good, rtol=0, atol=0)


def test_an_infinite_loss_of_finite_gradients_under_loss_scaling(
    scaling_trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    add_infinity(scaling_trainer, times=1)
    with caplog.at_level(logging.INFO):
        scaling_trainer.train_step(batches(scaling_trainer, [3, 2]))
    assert "update 1: loss is inf in the batch of samples 3, 2; it is skipped" in caplog.text
    assert scaling_trainer.get_num_updates() == 1
    assert all(tensor.isfinite().all() for tensor in weights(scaling_trainer).values())


def test_a_gradient_that_is_not_finite(trainer: Trainer) -> None:
    name = spoil_gradient(trainer, times=2)
    expected = f"update 1: the gradient of {name} is not finite in the batch of samples"
    with pytest.raises(UserError, match=expected + " 0, 1, 2, 3, 4, 5, 6, 7 and 2 more. "):
        trainer.train_step(batches(trainer, list(range(10))))


def test_a_gradient_of_the_criterion_that_is_not_finite(make_trainer: Callable[..., Trainer]) -> None:
    """A narrower student's projection belongs to it."""
    trainer = make_trainer(width=6)
    projection = trainer.criterion.width_projection.weight
    good = projection.detach().clone()
    projection.register_hook(lambda gradient: gradient * torch.inf)
    expected = "update 1: the gradient of criterion.width_projection.weight is not finite in the batch of samples 3, 2"
    with pytest.raises(UserError, match=expected):
        trainer.train_step(batches(trainer, [3, 2]))
    assert torch.equal(projection, good)


def test_gradients_that_are_finite_when_they_are_computed_again(trainer: Trainer) -> None:
    """As with another worker's, or other dropout."""
    good = weights(trainer)
    spoil_gradient(trainer, times=1)
    with pytest.raises(UserError, match="^update 1: the gradients of all workers .* batch of samples 4, 2, 7. The upd"):
        trainer.train_step(batches(trainer, [4, 2], [7]))
    torch.testing.assert_close(weights(trainer), good, rtol=0, atol=0)


def test_under_loss_scaling_the_update_is_skipped(scaling_trainer: Trainer, caplog: pytest.LogCaptureFixture) -> None:
    """fairseq tries the batch again with a lower scale, here with success."""
    name = spoil_gradient(scaling_trainer, times=1)
    good = weights(scaling_trainer)
    with caplog.at_level(logging.INFO):
        scaling_trainer.train_step(batches(scaling_trainer, [3, 2], [5]))
    assert (
        f"update 1: the gradient of {name} is not finite in the batch of samples 3, 2, 5; it is skipped, and the loss "
        "scale lowered to 512"
    ) in caplog.text
    assert scaling_trainer.get_num_updates() == 1
    changed = weights(scaling_trainer)
    assert all(tensor.isfinite().all() for tensor in changed.values())
    assert not torch.equal(changed[name], good[name])


def test_under_fairseqs_own_loss_scaling_the_update_is_skipped(
    make_trainer: Callable[..., Trainer], caplog: pytest.LogCaptureFixture
) -> None:
    """As with ``--fp16``, here of float32 weights; where there is no GPU, fairseq then fails to make a tensor on it."""
    trainer = make_trainer(fp16_no_flatten_grads=True)
    assert trainer.get_lr() > 0  # which makes the optimiser that is replaced
    parameters = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
    trainer._optimizer = FP16Optimizer.build_optimizer(trainer.cfg, parameters)
    name = spoil_gradient(trainer, times=1)
    good = weights(trainer)
    with caplog.at_level(logging.INFO), contextlib.suppress(AssertionError, RuntimeError):
        trainer.train_step(batches(trainer, [3, 2], [5]))
    assert (
        f"update 1: the gradient of {name} is not finite in the batch of samples 3, 2, 5; it is skipped, and the loss "
        "scale lowered to 64"
    ) in caplog.text
    assert trainer.get_num_updates() == 0
    torch.testing.assert_close(weights(trainer), good, rtol=0, atol=0)
    trainer.train_step(batches(trainer, [7]))
    assert trainer.get_num_updates() == 1


def test_a_loss_that_is_not_finite_under_loss_scaling(
    scaling_trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    with torch.no_grad():
        scaling_trainer.model.masked_lm_head.bias[7] = torch.nan
    before = weights(scaling_trainer)
    with caplog.at_level(logging.INFO):
        scaling_trainer.train_step(batches(scaling_trainer, [3, 2]))
    assert "update 1: mlm_loss is nan in the batch of samples 3, 2; it is skipped" in caplog.text
    assert scaling_trainer.get_num_updates() == 0
    torch.testing.assert_close(weights(scaling_trainer), before, rtol=0, atol=0, equal_nan=True)


def test_finite_updates_are_made(trainer: Trainer) -> None:
    for index in range(3):
        trainer.train_step(batches(trainer, [index]))
    assert trainer.get_num_updates() == 3


def test_a_teacher_whose_outputs_are_not_finite(trainer: Trainer) -> None:
    with torch.no_grad():
        trainer.model.teacher.encoder.embeddings.layer_norm.bias[3] = torch.inf
    with pytest.raises(UserError, match="^the teacher's hidden states are not finite: its weights are damaged"):
        trainer.train_step(batches(trainer, [0, 1]))
    assert trainer.get_num_updates() == 0
    assert list(Path(trainer.cfg.checkpoint.save_dir).iterdir()) == []  # no crash.pt


def test_a_teacher_whose_head_is_not_finite(trainer: Trainer) -> None:
    with torch.no_grad():
        trainer.model.teacher.masked_lm_head.bias[3] = torch.nan
    with pytest.raises(UserError, match="^the teacher's logits are not finite: its weights are damaged"):
        trainer.train_step(batches(trainer, [0, 1]))
    assert trainer.get_num_updates() == 0


def test_a_batch_without_masked_tokens_tells_nothing_of_the_teacher(trainer: Trainer) -> None:
    model = trainer.model
    model.teacher_projection(torch.zeros(0, model.teacher.config.width))
    with torch.no_grad():
        model.teacher.masked_lm_head.bias[3] = torch.nan
    with pytest.raises(UserError, match="^the teacher's logits are not finite"):
        model.teacher_projection(torch.zeros(2, model.teacher.config.width))


def test_the_teacher_is_checked_before_anything_else(trainer: Trainer) -> None:
    """Once: what becomes of it later is a matter of the loss."""
    trainer.train_step(batches(trainer, [0, 1]))
    with torch.no_grad():
        trainer.model.teacher.masked_lm_head.bias[3] = torch.nan
    with pytest.raises(UserError, match="^update 2: soft_target_loss is nan in the batch of samples 5. "):
        trainer.train_step(batches(trainer, [5]))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_loss_of_validation_that_is_not_finite(trainer: Trainer, value: float) -> None:
    """fairseq would keep it as the best loss, than which none is less."""
    (valid,) = batches(trainer, [3, 2])
    assert trainer.valid_step(valid)["mlm_loss"] > 0
    with torch.no_grad():
        trainer.model.masked_lm_head.bias[7] = value
    message = r"^validation: mlm_loss is (nan|inf) in the batch of samples 3, 2. The last checkpoint stays as it is; "
    with pytest.raises(UserError, match=message):
        trainer.valid_step(valid)
