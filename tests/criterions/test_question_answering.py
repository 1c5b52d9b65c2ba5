"""The objective against torch's own functions on the model's logits."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from fairseq_distil.errors import UserError

TINY = {"encoder_embed_dim": 12, "encoder_attention_heads": 4, "max_positions": 19}
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0}


@pytest.fixture(scope="module")
def run(setup_run: Callable, squad_data: Path) -> Callable:
    def setup(criterion: dict | None = None, **model: object):
        model = {"_name": "distil_encoder", "encoder_layers": 1, **TINY, **NO_DROPOUT, **model}
        criterion = {"_name": "question_answering", **(criterion or {})}
        made = setup_run(model, criterion, _name="question_answering", data=str(squad_data))
        made.model.eval()  # without dropout, which the head has whatever the encoder's
        return made

    return setup


@pytest.fixture(scope="module")
def fine_tuned_teacher(run: Callable, tmp_path_factory: pytest.TempPathFactory) -> str:
    return run(encoder_layers=2).save_checkpoint(tmp_path_factory.mktemp("teacher") / "fine_tuned.pt")


def distillation(run: Callable, teacher: str, **criterion: float):
    return run(criterion, _name="teacher_student", teacher=teacher, student_init="random", encoder_layers=1)


def reference(run, batch: dict, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of cross-entropy and divergence, window by window without padding; of the student and its teacher."""
    cross_entropy = divergence = 0
    for window, length in enumerate(batch["net_input"]["src_lengths"].tolist()):
        tokens = batch["net_input"]["src_tokens"][window : window + 1, :length]
        student = run.model(tokens, answer_logits=True)[0][0]
        cross_entropy = cross_entropy + F.cross_entropy(student.T, batch["target"][window], reduction="sum") / 2
        if hasattr(run.model, "teacher"):
            teacher = run.model.teacher(tokens, answer_logits=True)[0][0].detach()
            soft = [F.log_softmax(logits.T / temperature, -1) for logits in (student, teacher)]
            divergence = divergence + F.kl_div(*soft, log_target=True, reduction="sum") * temperature**2 / 2
    return cross_entropy, divergence


def test_without_a_teacher_it_is_the_mean_of_two_cross_entropies(run: Callable) -> None:
    tiny = run()
    batch = tiny.batch("train", [0, 1, 4, 7])
    loss, sample_size, log = tiny.criterion(tiny.model, batch)
    expected, _ = reference(tiny, batch, 1)
    torch.testing.assert_close(loss, expected)
    assert (sample_size, log["sample_size"], log["nsentences"], log["ntokens"]) == (4, 4, 4, 62)
    assert "soft_target_loss" not in log


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_with_a_teacher(run: Callable, fine_tuned_teacher: str, temperature: float) -> None:
    pair = distillation(run, fine_tuned_teacher, teacher_weight=0.7, soft_target_temperature=temperature)
    batch = pair.batch("train", [0, 1, 4, 7])
    loss, _, log = pair.criterion(pair.model, batch)
    cross_entropy, divergence = reference(pair, batch, temperature)
    torch.testing.assert_close(loss, cross_entropy + 0.7 * divergence, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(log["soft_target_loss"], divergence.detach(), rtol=1e-4, atol=1e-5)
    assert divergence > 0
    parameters = [parameter for parameter in pair.model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    expected = torch.autograd.grad(cross_entropy + 0.7 * divergence, parameters, allow_unused=True)
    for gradient, expected_gradient in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-5)


def test_a_weight_of_zero_is_the_task_alone(run: Callable, fine_tuned_teacher: str) -> None:
    pair = distillation(run, fine_tuned_teacher, teacher_weight=0.0)
    batch = pair.batch("train")
    torch.testing.assert_close(pair.criterion(pair.model, batch)[0], reference(pair, batch, 1)[0])


def test_batches_add_up_and_nothing_adds_nothing(run: Callable, fine_tuned_teacher: str) -> None:
    pair = distillation(run, fine_tuned_teacher)
    whole, parts = pair.batch("train", [0, 1, 2, 3]), [pair.batch("train", [0, 1]), pair.batch("train", [2, 3])]
    parts.append(pair.task.datasets["train"].collater([]))
    losses = [pair.criterion(pair.model, part) for part in parts]
    torch.testing.assert_close(sum(loss[0] for loss in losses), pair.criterion(pair.model, whole)[0])
    assert [loss[1] for loss in losses] == [2, 2, 0]
    assert losses[-1][0] == 0


def test_a_teacher_without_a_head(run: Callable, teacher_path: str) -> None:
    with pytest.raises(UserError, match="teacher has no question-answering head: give --teacher"):
        distillation(run, teacher_path)
    assert distillation(run, teacher_path, teacher_weight=0.0)


def test_another_task(setup_run: Callable) -> None:
    with pytest.raises(UserError, match="criterion question_answering needs --task question_answering"):
        setup_run({"_name": "distil_encoder", "encoder_layers": 1, **TINY}, {"_name": "question_answering"})


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        ({"teacher_weight": -1.0}, "teacher_weight is -1.0"),
        ({"teacher_weight": float("inf")}, "teacher_weight is inf"),
        ({"soft_target_temperature": 0.0}, "soft_target_temperature is 0.0"),
    ],
)
def test_impossible_settings(run: Callable, criterion: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(criterion)
