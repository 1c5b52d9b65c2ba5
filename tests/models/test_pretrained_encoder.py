"""Encoders that start from another's weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils

from fairseq_distil.errors import UserError
from fairseq_distil.models import DistilEncoderModel, TeacherStudentModel

TOKENS = torch.tensor([[0, 9, 8, 7, 2], [0, 5, 2, 1, 1]])
PLAIN = {"_name": "distil_encoder"}
SENTENCES = {"_name": "sentence_prediction_metrics", "regression_target": False}


@pytest.fixture
def headless_path(setup_run: Callable, teacher_path: str, tmp_path: Path) -> str:
    """The tiny teacher without its masked-LM head."""
    run = setup_run({**PLAIN, "pretrained": teacher_path, "no_masked_lm_head": True})
    return run.save_checkpoint(tmp_path / "headless.pt")


def test_weights_and_sizes_are_the_pretrained_encoders(setup_run: Callable, teacher_run, teacher_path: str) -> None:
    run = setup_run({**PLAIN, "pretrained": teacher_path, "dropout": 0.3})
    assert (run.model.config.layers, run.model.config.width, run.model.config.dropout) == (3, 12, 0.3)
    assert run.model.state_dict().keys() == teacher_run.model.state_dict().keys()
    for name, tensor in teacher_run.model.state_dict().items():
        assert torch.equal(run.model.state_dict()[name], tensor)


def test_checkpoints_do_not_need_the_pretrained_encoder(setup_run: Callable, teacher_path: str, tmp_path: Path) -> None:
    run = setup_run({**PLAIN, "pretrained": teacher_path})
    path = run.save_checkpoint(tmp_path / "tuned.pt")
    assert (run.cfg.model.pretrained, run.cfg.model.encoder_layers, run.cfg.model.max_positions) == (None, 3, 19)
    (model,), _ = checkpoint_utils.load_model_ensemble([path])
    assert torch.equal(model.eval()(TOKENS)[0], run.model.eval()(TOKENS)[0])


def test_fewer_positions(setup_run: Callable, teacher_run, teacher_path: str) -> None:
    model = setup_run({**PLAIN, "pretrained": teacher_path, "max_positions": 18}).model
    assert torch.equal(
        model.encoder.embeddings.position_embeddings.weight,
        teacher_run.model.encoder.embeddings.position_embeddings.weight[:18],
    )


def test_more_positions_start_as_repeats(setup_run: Callable, teacher_run, teacher_path: str) -> None:
    model = setup_run({**PLAIN, "pretrained": teacher_path, "max_positions": 41}).model
    held = teacher_run.model.encoder.embeddings.position_embeddings.weight
    assert model.max_positions() == 41
    assert torch.equal(model.encoder.embeddings.position_embeddings.weight, torch.cat([held, held, held[:3]]))
    shorter = model.eval()(TOKENS)[0]
    torch.testing.assert_close(shorter, teacher_run.model.eval()(TOKENS)[0])


def test_more_positions_of_a_task_are_told(
    setup_run: Callable, sentence_data: Callable, teacher_path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """fairseq's task for sentences asks for 512 where nothing else is given."""
    run = setup_run({**PLAIN, "pretrained": teacher_path}, SENTENCES, **sentence_data("0", "1"))
    assert (run.model.max_positions(), run.cfg.model.max_positions) == (19, 19)
    expected = f"pretrained {teacher_path}: has 19 positions, fewer than task.max_positions 512"
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [expected]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"encoder_layers": 4}, "its encoder_layers is 3, but 4 is asked for; .* or give --encoder-layers 3"),
        ({"max_positions": 0}, "its max_positions is 19, but 0 is asked for"),
        ({"pretrained": "/nowhere.pt"}, "^pretrained /nowhere.pt: no such file; give --pretrained"),
        ({"pretrained": None, "fit_mlm_head": True}, "needs --pretrained"),
    ],
)
def test_errors(setup_run: Callable, teacher_path: str, wrong: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        setup_run({**PLAIN, "pretrained": teacher_path, **wrong})


def test_fitting_a_head_trains_nothing_else(setup_run: Callable, headless_path: str) -> None:
    run = setup_run({**PLAIN, "pretrained": headless_path, "fit_mlm_head": True, "dropout": 0.5})
    trained = [name for name, parameter in run.model.named_parameters() if parameter.requires_grad]
    assert trained and all(name.startswith("masked_lm_head.") for name in trained)
    run.model.train()
    features = run.model(TOKENS, features_only=True)[0]
    assert torch.equal(features, run.model(TOKENS, features_only=True)[0])  # no dropout in the encoder
    loss, _, _ = run.criterion(run.model, run.batch(indices=[0, 1]))
    loss.backward()
    for name, parameter in run.model.named_parameters():
        assert (parameter.grad is not None) == (name in trained), name


def test_a_fitted_head_makes_a_teacher(setup_run: Callable, headless_path: str, tmp_path: Path) -> None:
    fitted = setup_run({**PLAIN, "pretrained": headless_path, "fit_mlm_head": True})
    path = fitted.save_checkpoint(tmp_path / "fitted.pt")
    run = setup_run({"_name": "teacher_student", "teacher": path}, {"_name": "distillation"})
    assert torch.equal(run.model.teacher(TOKENS)[0], fitted.model.eval()(TOKENS)[0])


def test_a_headless_teacher_has_a_headless_student(setup_run: Callable, headless_path: str) -> None:
    cosine_alone = {"_name": "distillation", "soft_target_weight": 0.0, "mlm_weight": 0.0}
    run = setup_run({"_name": "teacher_student", "teacher": headless_path}, cosine_alone, mask_prob=0.0)
    assert run.model.masked_lm_head is None and run.model.teacher.masked_lm_head is None
    loss, sample_size, log = run.criterion(run.model, run.batch(indices=[0, 1]))
    assert sample_size == 34 and torch.equal(loss, log["cosine_loss"]) and "mlm_loss" not in log
    for weights in ({"mlm_weight": 1.0}, {"soft_target_weight": 1.0}):
        with pytest.raises(UserError, match="need masked-LM heads, but the .* has none; .* --fit-mlm-head"):
            setup_run({"_name": "teacher_student", "teacher": headless_path}, {**cosine_alone, **weights})


def test_a_student_that_starts_from_neither_teacher_nor_chance(
    setup_run: Callable, teacher_path: str, tmp_path: Path
) -> None:
    small = setup_run({**PLAIN, "encoder_layers": 1, "encoder_embed_dim": 12, "max_positions": 19})
    path = small.save_checkpoint(tmp_path / "small.pt")
    model = setup_run({"_name": "teacher_student", "teacher": teacher_path, "pretrained": path}).model
    assert isinstance(model, TeacherStudentModel) and isinstance(model, DistilEncoderModel)
    assert model.config.layers == 1 and model.teacher.config.layers == 3
    assert torch.equal(model.eval()(TOKENS)[0], small.model.eval()(TOKENS)[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"student_init": "random"}, "leave out --student-init and --teacher-layer-map"),
        ({"teacher_layer_map": "0"}, "leave out --student-init and --teacher-layer-map"),
        ({"pretrained": None, "fit_mlm_head": True}, "--fit-mlm-head is for a distil_encoder"),
    ],
)
def test_contradictions(setup_run: Callable, teacher_path: str, settings: dict, message: str) -> None:
    model = {"_name": "teacher_student", "teacher": teacher_path, "pretrained": teacher_path, **settings}
    with pytest.raises(UserError, match=message):
        setup_run(model)


def test_the_teachers_type_stays_whatever_the_student_is_moved_to(setup_run: Callable, teacher_path: str) -> None:
    model = setup_run({"_name": "teacher_student", "teacher": teacher_path, "teacher_dtype": "bfloat16"}).model
    for move in (lambda: model, model.float, model.double):
        assert {parameter.dtype for parameter in move().teacher.parameters()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
