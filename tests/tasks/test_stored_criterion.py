"""The projection of a narrower student, as fairseq's commands load it from a checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.tasks import FairseqTask

from fairseq_distil.errors import UserError

HIDDEN_STATES = {"hidden_weight": 1.0}
RELATIONS = {"cosine_weight": 0.0, "relation_weight": 1.0, "relation_heads": 2}


@pytest.fixture(scope="module")
def stored(setup_run: Callable, teacher_path: str, tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """Writes a checkpoint of a narrower student, whose projection has learned; returns the run and the path."""

    def store(**criterion: Any):
        student = {"_name": "teacher_student", "teacher": teacher_path, "student_init": "random", "encoder_layers": 2}
        run = setup_run(
            student | {"encoder_embed_dim": 8, "dropout": 0.0, "attention_dropout": 0.0},
            {"_name": "distillation", **criterion},
        )
        with torch.no_grad():
            for parameter in run.criterion.parameters():
                parameter.add_(0.5 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
        return run, run.save_checkpoint(tmp_path_factory.mktemp("stored") / "student.pt")

    return store


def load(path: str) -> tuple[Any, Any, FairseqTask]:
    return checkpoint_utils.load_model_ensemble_and_task([path])


def test_losses_are_those_of_the_trained_projection(stored: Callable) -> None:
    run, path = stored(**HIDDEN_STATES)
    sample = run.batch("valid")
    (model,), cfg, task = load(path)
    criterion = task.build_criterion(cfg.criterion)
    assert torch.equal(criterion.width_projection.weight, run.criterion.width_projection.weight)
    expected, found = run.criterion(run.model.eval(), sample)[2], criterion(model.eval(), sample)[2]
    assert found["cosine_loss"] == expected["cosine_loss"] > 0
    assert found["hidden_loss"] == expected["hidden_loss"] > 0


def test_it_has_the_type_of_the_model(stored: Callable) -> None:
    """fairseq-validate moves the model before, and the criterion not at all."""
    (model,), cfg, task = load(stored(**HIDDEN_STATES)[1])
    model.to(torch.bfloat16)
    assert task.build_criterion(cfg.criterion).width_projection.weight.dtype == torch.bfloat16


def test_a_checkpoint_without_projection(stored: Callable) -> None:
    _, path = stored(**RELATIONS)
    _, cfg, task = load(path)
    task.build_criterion(cfg.criterion)
    cfg.criterion.cosine_weight = 1.0
    with pytest.raises(UserError, match=f"^{path}: it has no projection of the student's hidden states .*--pretrained"):
        task.build_criterion(cfg.criterion)


@pytest.mark.parametrize("name", ["width_projection.weight", "other"])
def test_a_projection_that_does_not_fit(stored: Callable, tmp_path: Path, name: str) -> None:
    path = tmp_path / "wrong.pt"
    torch.save(torch.load(stored(**HIDDEN_STATES)[1]) | {"criterion": {name: torch.zeros(3, 2)}}, path)
    _, cfg, task = load(str(path))
    with pytest.raises(UserError, match=f"^{path}: its criterion's weights do not fit: ") as raised:
        task.build_criterion(cfg.criterion)
    assert "\n" not in str(raised.value)


def test_terms_of_a_checkpoint_can_be_left_out_with_their_options(stored: Callable) -> None:
    """Options of fairseq-validate set weights, but can give no option its default back that is None."""
    _, path = stored(hidden_weight=1.0, hidden_distance="cosine", soft_target_top_k=3)
    (model,), cfg, task = load(path)
    cfg.criterion.hidden_weight = cfg.criterion.soft_target_weight = 0.0
    loss, _, log = task.build_criterion(cfg.criterion)(model, stored_batch(task))
    assert loss > 0 and "hidden_loss" not in log


def stored_batch(task: FairseqTask) -> dict[str, Any]:
    task.load_dataset("valid")
    return task.datasets["valid"].collater([task.datasets["valid"][0]])
