import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .stored_soft_targets import STORED


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


@pytest.fixture
def stored_run(setup_run: Callable, teacher_path: str, tmp_path: Path) -> Callable:
    """A random student beside the tiny teacher or another, whose masks repeat after two epochs; with a cache or not."""
    student = {"_name": "teacher_student", "student_init": "random", "encoder_layers": 1}
    no_dropout = {"dropout": 0.0, "attention_dropout": 0.0}

    def setup(
        cache: Path | None = tmp_path,
        criterion: dict[str, Any] | None = None,
        teacher: str = teacher_path,
        model: dict[str, Any] | None = None,
        **task: Any,
    ):
        cached = {"teacher": teacher, "teacher_cache": cache and str(cache)}
        model = student | no_dropout | cached | (model or {})
        settings = {"sample_break_mode": "eos", "mask_prob": 0.3, "repeat_masks_after": 2} | task
        return setup_run(model, {"_name": "distillation"} | STORED | (criterion or {}), **settings)

    return setup


@pytest.fixture
def two_teachers(teacher_path: str, setup_run: Callable, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("second") / "second.pt"
    second = {"_name": "distil_encoder", "encoder_layers": 1, "encoder_embed_dim": 8, "encoder_attention_heads": 2}
    return f"{teacher_path}:{setup_run(second | {'max_positions': 19}).save_checkpoint(path)}"
