import logging
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session")
def student_run(setup_run: Callable, teacher_path: str) -> Callable:
    """A ``teacher_student`` beside the tiny teacher, with settings of the model."""

    def setup(**model: Any):
        criterion = {"_name": "distillation", "cosine_weight": 0.0}  # any width of the student will do
        return setup_run({"_name": "teacher_student", "teacher": teacher_path, **model}, criterion)

    return setup


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was logged of the outputs since the last question."""
    caplog.set_level(logging.INFO)

    def lines() -> list[str]:
        messages = [message for message in caplog.messages if message.startswith("teacher outputs")]
        caplog.clear()
        return messages

    return lines
