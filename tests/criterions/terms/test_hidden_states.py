"""The hidden-state term on real models and batches."""

from collections.abc import Callable

import pytest
import torch

from fairseq_distil.errors import UserError

ALONE = {"soft_target_weight": 0.0, "mlm_weight": 0.0, "cosine_weight": 0.0, "hidden_weight": 3.0}


@pytest.mark.parametrize("distance", ["mse", "cosine"])
def test_the_mean_over_pairs_of_the_sum_over_tokens(distillation_run: Callable, distance: str) -> None:
    run = distillation_run(
        ALONE | {"hidden_layer_pairs": "0:1,2:3", "hidden_distance": distance}, sample_break_mode="eos"
    )
    sample = run.batch()
    loss, sample_size, log = run.criterion(run.model, sample)
    tokens = sample["net_input"]["src_tokens"].ne(1)
    student, teacher = (
        model(**sample["net_input"], return_all_hiddens=True)[1]["inner_states"]
        for model in (run.model, run.model.teacher)
    )
    expected = 0.0
    for s, t in ((0, 1), (2, 3)):
        distances = {
            "mse": (student[s] - teacher[t]).square().mean(-1),
            "cosine": 1 - torch.cosine_similarity(student[s], teacher[t], dim=-1),
        }
        expected += distances[distance][tokens].sum() / 2
    torch.testing.assert_close(log["hidden_loss"], expected.detach())
    torch.testing.assert_close(loss, 3 * expected)
    learning = [parameter for parameter in run.model.parameters() if parameter.requires_grad]
    torch.testing.assert_close(torch.autograd.grad(loss, learning), torch.autograd.grad(3 * expected, learning))
    assert sample_size == log["hidden_tokens"] == tokens.sum()


def test_a_student_that_is_its_teacher_has_none(distillation_run: Callable) -> None:
    run = distillation_run(ALONE, {"student_init": "teacher", "encoder_layers": 3})
    assert run.criterion(run.model, run.batch())[0].item() == pytest.approx(0, abs=1e-6)


def test_layers_above_those_that_are_read_are_not_computed(distillation_run: Callable) -> None:
    run = distillation_run(ALONE | {"hidden_layer_pairs": "2:1"})
    for layer in run.model.teacher.encoder.layers[1:]:
        layer.forward = None
    assert run.criterion(run.model, run.batch())[0].isfinite()


@pytest.mark.parametrize(
    ("criterion", "model", "message"),
    [
        ({"hidden_layer_pairs": "3:3"}, {}, "criterion.hidden_layer_pairs: '3:3' names layer 3 of the student, which"),
        ({"hidden_layer_pairs": "2:4"}, {}, "names layer 4 of the teacher, which has 3"),
        (
            {},
            {"encoder_embed_dim": 16},
            "the student is 16 wide, more than its teacher, which is 12: their",
        ),
        ({"hidden_weight": -1.0}, {}, "criterion.hidden_weight is -1.0, but a weight must be finite and not negative"),
    ],
)
def test_errors(distillation_run: Callable, criterion: dict, model: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        distillation_run(ALONE | criterion, model)


def test_a_narrower_student_is_widened_by_a_projection_that_learns(distillation_run: Callable) -> None:
    run = distillation_run(ALONE | {"hidden_layer_pairs": "2:3"}, {"encoder_embed_dim": 8})
    (projection,) = run.criterion.parameters()
    words, taught = (one.encoder.embeddings.word_embeddings.weight for one in (run.model, run.model.teacher))
    expected = torch.linalg.lstsq(words.double(), taught.double()).solution.T.float()
    torch.testing.assert_close(projection.detach(), expected)
    sample = run.batch()
    loss, _, log = run.criterion(run.model, sample)
    with torch.no_grad():
        student = run.model(**sample["net_input"], features_only=True)[0] @ projection.T
        teacher = run.model.teacher(**sample["net_input"], features_only=True)[0]
    tokens = sample["net_input"]["src_tokens"].ne(1)
    torch.testing.assert_close(log["hidden_loss"], (student - teacher).square().mean(-1)[tokens].sum())
    (gradient,) = torch.autograd.grad(loss, projection)
    assert gradient.abs().sum() > 0
    assert not any("projection" in name for name in run.model.state_dict())
