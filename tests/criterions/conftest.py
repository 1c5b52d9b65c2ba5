from collections.abc import Callable
from typing import Any

import pytest


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
