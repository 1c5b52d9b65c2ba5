"""A fine-tuned teacher must answer the question that its student is asked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fairseq_distil.errors import UserError
from fairseq_distil.models import DistilEncoderModel
from fairseq_distil.models.encoder_loading import read_encoder

CLASSES = ("entailment", "not_entailment")


@pytest.fixture
def fine_tuned(setup_run: Callable, sentence_data: Callable, teacher_path: str, tmp_path: Path) -> Callable[..., str]:
    """Path of an encoder with a head for these classes, or for numbers."""

    def save(*classes: str, **task: Any) -> str:
        model = {"_name": "distil_encoder", "pretrained": teacher_path}
        criterion = {"_name": "sentence_prediction", "regression_target": not classes}
        run = setup_run(model, criterion, **sentence_data(*classes), **task)
        return run.save_checkpoint(tmp_path / "fine_tuned.pt")

    return save


@pytest.fixture
def student(setup_run: Callable, sentence_data: Callable) -> Callable:
    """A student for these classes, or for numbers, beside a teacher."""

    def setup(teacher: str, *classes: str, **criterion: Any):
        model = {"_name": "teacher_student", "teacher": teacher, "max_positions": 19}
        criterion = {"_name": "sentence_prediction_distillation", "regression_target": not classes, **criterion}
        return setup_run(model, criterion, **sentence_data(*classes), max_positions=19)

    return setup


def test_what_a_checkpoint_remembers(fine_tuned: Callable, teacher_run) -> None:
    dictionary = teacher_run.task.source_dictionary
    for classes in (CLASSES, ()):
        state = read_encoder(fine_tuned(*classes), dictionary).checkpoint
        expected = {"problem_type": "single_label_classification", "labels": list(CLASSES)}
        assert state["task_state"]["classification"] == (expected if classes else {"problem_type": "regression"})
        assert state["task_state"]["dictionary_symbols"] == dictionary.symbols
        assert state["cfg"]["task"]["max_positions"] == state["cfg"]["model"]["max_positions"] == 19


@pytest.mark.parametrize("classes", [CLASSES, ()], ids=["classes", "numbers"])
def test_a_student_and_its_checkpoint(fine_tuned: Callable, student: Callable, tmp_path: Path, classes) -> None:
    run = student(fine_tuned(*classes), *classes)
    assert run.model.teacher.classification_heads.keys() == run.model.classification_heads.keys()
    path = run.save_checkpoint(tmp_path / "student.pt")
    stored = read_encoder(path, run.task.source_dictionary)
    alone = DistilEncoderModel.restored(stored.config, stored.weights)
    assert (alone.config.layers, alone.classification_heads["sentence_classification_head"].output.out_features) == (
        1,
        len(classes) or 1,
    )
    torch.testing.assert_close(dict(alone.state_dict()), dict(run.model.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        (CLASSES, ("a", "b", "c"), "it was fine-tuned for 2 classes, but the task is 3 classes"),
        (CLASSES, (), "it was fine-tuned for 2 classes, but the task is regression"),
        ((), CLASSES, "it was fine-tuned for regression, but the task is 2 classes"),
        (CLASSES, CLASSES[::-1], "its classes are entailment, not_entailment, but those of .* are not_entailment, ent"),
    ],
)
def test_another_question(fine_tuned: Callable, student: Callable, theirs, ours, message: str) -> None:
    path = fine_tuned(*theirs)
    with pytest.raises(UserError, match=f"^teacher {path}: {message}"):
        student(path, *ours)


def test_classes_of_other_names_are_taken_as_they_come(
    fine_tuned: Callable, student: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    assert student(fine_tuned("LABEL_0", "LABEL_1"), *CLASSES).model.teacher.classification_heads
    (told,) = [record.getMessage() for record in caplog.records if record.name.endswith("teacher_head")]
    assert told.startswith("the teacher's classes are called LABEL_0, LABEL_1, those of ")
    assert told.endswith(" entailment, not_entailment; they are taken to be the same in this order")


def test_no_head(teacher_path: str, fine_tuned: Callable, student: Callable) -> None:
    with pytest.raises(UserError, match="has no classification head 'sentence_classification_head', but none; give a"):
        student(teacher_path, *CLASSES)
    with pytest.raises(UserError, match="has no classification head 'rte', but sentence_classification_head; give a"):
        student(fine_tuned(*CLASSES), *CLASSES, classification_head_name="rte")


def test_another_vocabulary(
    setup_run: Callable, sentence_data: Callable, student: Callable, write_data: Callable, tmp_path: Path
) -> None:
    """Of the same size, so that the weights alone do not tell."""
    symbols = [f"word{index}" for index in range(40, -1, -1)]
    data = write_data(tmp_path / "data", {"train": [[4, 5, 6]]}, symbols)
    sizes = {"encoder_layers": 1, "encoder_embed_dim": 12, "encoder_attention_heads": 4, "max_positions": 19}
    run = setup_run({"_name": "distil_encoder", **sizes}, data=data)
    run.model.register_classification_head("sentence_classification_head", 2)
    path = run.save_checkpoint(tmp_path / "other.pt")
    with pytest.raises(UserError, match=f"^teacher {path} has another dictionary than the data's dict.txt"):
        student(path, *CLASSES)
