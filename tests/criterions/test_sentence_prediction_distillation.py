"""Distillation of one task: the formula, its identities, and what it does not touch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.logging import metrics
from torch import nn

from fairseq_distil.errors import UserError
from fairseq_distil.models import DistilEncoderModel

TWO, THREE = ("0", "1"), ("entailment", "neutral", "contradiction")
HEAD = {"classification_head_name": "sentence_classification_head"}
KINDS = pytest.mark.parametrize("classes", [TWO, THREE, ()], ids=["two classes", "three", "regression"])


def loss_and_gradients(run, sample: dict) -> tuple:
    run.model.zero_grad()
    loss, sample_size, logged = run.criterion(run.model.eval(), sample)
    loss.backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in run.model.parameters()]
    return loss.detach(), sample_size, logged, gradients


def reduced(run, logging_outputs: list[dict]) -> dict[str, float]:
    with metrics.aggregate(new_root=True) as aggregator:
        type(run.criterion).reduce_metrics(logging_outputs)
    return aggregator.get_smoothed_values()


@KINDS
@pytest.mark.parametrize(("weight", "temperature"), [(1.0, 2.0), (0.3, 5.0)])
def test_value_and_gradients(
    sentence_distillation_run: Callable, classes: tuple[str, ...], weight: float, temperature: float
) -> None:
    run = sentence_distillation_run({"teacher_weight": weight, "soft_target_temperature": temperature}, *classes)
    sample = run.batch()
    loss, sample_size, logged, gradients = loss_and_gradients(run, sample)

    run.model.zero_grad()
    student = run.model(**sample["net_input"], **HEAD)[0]
    teacher = run.model.teacher(**sample["net_input"], **HEAD)[0].detach()
    targets = sample["target"].view(-1)
    if classes:
        task_loss = nn.CrossEntropyLoss(reduction="sum")(student, targets)
        divergence = nn.KLDivLoss(reduction="sum")
        soft_target = divergence((student / temperature).log_softmax(-1), (teacher / temperature).softmax(-1))
        expected = task_loss + weight * temperature**2 * soft_target
    else:
        task_loss = nn.MSELoss(reduction="sum")(student[:, 0], targets.float())
        expected = task_loss + weight * nn.MSELoss(reduction="sum")(student, teacher)
    expected.backward()
    assert sample_size == 64
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(logged["task_loss"], task_loss.detach())
    for gradient, parameter in zip(gradients, run.model.parameters(), strict=True):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient) if parameter.grad is None else parameter.grad)
    assert sum(gradient.abs().sum() for gradient in gradients) > 0


@KINDS
def test_without_weight_it_is_fairseqs_own_criterion(
    sentence_distillation_run: Callable, sentence_run: Callable, classes: tuple[str, ...]
) -> None:
    run = sentence_distillation_run({"teacher_weight": 0.0}, *classes)
    stock = sentence_run({"_name": "sentence_prediction"}, *classes)
    sample = run.batch()
    loss, _, _, gradients = loss_and_gradients(run, sample)
    expected, _, _, expected_gradients = loss_and_gradients(run._replace(criterion=stock.criterion), sample)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradients, expected_gradients)


@KINDS
def test_a_student_that_equals_its_teacher_has_no_soft_loss(
    sentence_distillation_run: Callable, classes: tuple[str, ...]
) -> None:
    run = sentence_distillation_run({}, *classes)
    run.model.load_state_dict(run.model.teacher.state_dict())
    loss, _, logged, _ = loss_and_gradients(run, run.batch())
    assert logged["soft_target_loss"].item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(loss, logged["task_loss"])


@KINDS
def test_two_micro_batches_add_up_to_the_double_batch(sentence_distillation_run: Callable, classes) -> None:
    run = sentence_distillation_run({}, *classes)
    parts = [loss_and_gradients(run, run.batch(indices=rows)) for rows in ([0, 7, 9], [*range(20, 33)])]
    loss, sample_size, logged, gradients = loss_and_gradients(run, run.batch(indices=[0, 7, 9, *range(20, 33)]))
    torch.testing.assert_close(parts[0][0] + parts[1][0], loss)
    assert sample_size == 16
    for first, second, total in zip(parts[0][3], parts[1][3], gradients, strict=True):
        torch.testing.assert_close(first + second, total, atol=1e-5, rtol=1e-4)
    together, apart = reduced(run, [logged]), reduced(run, [part[2] for part in parts])
    assert apart == pytest.approx(together, abs=2e-3)
    assert {"loss", "task_loss", "soft_target_loss"} <= together.keys()
    assert together["loss"] == pytest.approx(together["task_loss"] + together["soft_target_loss"], abs=3e-3)


def test_the_teacher_is_constant_and_not_saved(sentence_distillation_run: Callable) -> None:
    run = sentence_distillation_run({}, *TWO)
    before = {name: tensor.clone() for name, tensor in run.model.teacher.state_dict().items()}
    optimizer = torch.optim.SGD(run.model.parameters(), lr=0.1)
    run.criterion(run.model.train(), run.batch())[0].backward()
    optimizer.step()
    assert not any(module.training for module in run.model.teacher.modules())
    assert all(parameter.grad is None for parameter in run.model.teacher.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.model.teacher.state_dict().items())
    assert not any("teacher" in name for name in [*run.model.state_dict(), *run.criterion.state_dict()])
    assert run.model.teacher_logits(run.batch()["net_input"], **HEAD).is_inference()


@pytest.fixture
def orphan(sentence_distillation_run: Callable, tmp_path: Path) -> Callable:
    """A student, and the checkpoint of it that is left when its teacher's is gone."""

    def make(*classes: str) -> tuple[Any, Path]:
        teacher = Path(sentence_distillation_run({}, *classes).cfg.model.teacher)
        copy = tmp_path / "teacher.pt"
        copy.write_bytes(teacher.read_bytes())
        run = sentence_distillation_run({}, *classes, teacher=str(copy))
        path = Path(run.save_checkpoint(tmp_path / "student.pt"))
        copy.unlink()
        return run, path

    return make


@pytest.mark.parametrize("overrides", [{}, {"teacher": None}], ids=["gone", "none"])
@KINDS
def test_a_student_without_its_teacher_is_evaluated_on_the_task_alone(
    orphan: Callable, classes: tuple[str, ...], overrides: dict
) -> None:
    run, path = orphan(*classes)
    (model,), cfg, task = checkpoint_utils.load_model_ensemble_and_task([str(path)], overrides)
    assert type(model) is DistilEncoderModel
    criterion = task.build_criterion(cfg.criterion).eval()
    sample = run.batch()
    loss, sample_size, logged = criterion(model.eval(), sample)
    _, _, with_teacher = run.criterion.eval()(run.model.eval(), sample)
    assert sample_size == 64
    torch.testing.assert_close(loss, with_teacher["task_loss"], rtol=0, atol=0)
    expected = reduced(run, [with_teacher])
    found = reduced(run, [logged])
    assert found.keys() == expected.keys() - {"soft_target_loss"}
    assert found.pop("loss") == found["task_loss"]
    assert found == {name: expected[name] for name in found}
    with pytest.raises(AttributeError, match="task_teacher_logits"):  # nothing trains without it
        criterion.train()(model, sample)


def test_a_student_without_its_teacher_is_loaded_for_use(orphan: Callable) -> None:
    run, path = orphan(*TWO)
    interface = DistilEncoderModel.from_pretrained(str(path.parent), path.name, run.cfg.task.data)
    tokens = interface.encode("word3 word4")[None]
    torch.testing.assert_close(interface.model(tokens, **HEAD), run.model.eval()(tokens, **HEAD), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("criterion", "model", "message"),
    [
        (
            {"teacher_weight": -1.0},
            {},
            "criterion.teacher_weight is -1.0, but a weight must be finite and not negative",
        ),
        ({"soft_target_temperature": 0.0}, {}, "criterion.soft_target_temperature is 0.0, but must be from 0.01"),
        ({}, {"_name": "distil_encoder"}, "needs a teacher; train a teacher_student with --teacher"),
    ],
)
def test_errors(
    sentence_distillation_run: Callable, sentence_run: Callable, criterion: dict, model: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        if model:
            sentence_run({"_name": "sentence_prediction_distillation"}, *TWO)
        else:
            sentence_distillation_run(criterion, *TWO)
