from collections.abc import Callable
from typing import Any

import pytest
import torch


@pytest.fixture(scope="session")
def distillation_run(setup_run: Callable, teacher_path: str) -> Callable:
    """A random student of 2 layers beside the tiny teacher, without dropout, with settings of the criterion."""
    student = {"_name": "teacher_student", "teacher": teacher_path, "student_init": "random", "encoder_layers": 2}
    no_dropout = {"dropout": 0.0, "attention_dropout": 0.0}

    def setup(criterion: dict[str, Any] | None = None, model: dict[str, Any] | None = None, **task: Any):
        return setup_run(
            {**student, **no_dropout, **(model or {})}, {"_name": "distillation", **(criterion or {})}, **task
        )

    return setup


@pytest.fixture(scope="session")
def sentence_run(setup_run: Callable, sentence_data: Callable, teacher_path: str) -> Callable:
    """The tiny encoder on fairseq's task for sentences, with settings of the criterion and names of the classes."""

    def setup(criterion: dict[str, Any], *classes: str, **model: Any):
        settings = {"_name": "distil_encoder", "pretrained": teacher_path, "dropout": 0.0, "attention_dropout": 0.0}
        return setup_run(settings | model, {"regression_target": not classes} | criterion, **sentence_data(*classes))

    return setup


@pytest.fixture(scope="session")
def sentence_distillation_run(sentence_run: Callable, tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """The same as a student, beside a teacher with another head for the same task."""
    teachers: dict[tuple[str, ...], str] = {}

    def setup(criterion: dict[str, Any], *classes: str, **model: Any):
        if classes not in teachers:
            run = sentence_run({"_name": "sentence_prediction"}, *classes)
            with torch.no_grad():
                for parameter in run.model.classification_heads.parameters():
                    parameter.add_(0.5 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
            teachers[classes] = run.save_checkpoint(tmp_path_factory.mktemp("fine_tuned") / "teacher.pt")
        student = {"_name": "teacher_student", "teacher": teachers[classes]} | model
        return sentence_run({"_name": "sentence_prediction_distillation"} | criterion, *classes, **student)

    return setup
