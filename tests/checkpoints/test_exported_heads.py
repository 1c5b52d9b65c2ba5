"""Which head is exported, and what transformers makes of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    pipeline,
)

from fairseq_distil.checkpoints.export_checkpoint import ExportOptions, export
from fairseq_distil.checkpoints.exported_heads import choose_head
from fairseq_distil.errors import UserError

SENTENCE = "the quick fox, it"


def our_tokens(exportable) -> torch.Tensor:  # noqa: ANN001
    dictionary = exportable.dictionary
    ids = [dictionary.index(symbol) for symbol in exportable.symbols(SENTENCE)]
    return torch.tensor([[dictionary.bos(), *ids, dictionary.eos()]])


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        ({}, "masked-lm"),
        ({"classes": {"sst2": 2}}, "sst2"),
        ({"answers": True}, "question-answering"),
        ({"classes": {"one": 2, "two": 3}}, "masked-lm"),
        ({"classes": {"one": 2}, "answers": True}, "masked-lm"),
        ({"classes": {"one": 2, "two": 3}, "head": "two"}, "two"),
        ({"classes": {"one": 2}, "head": "encoder"}, "encoder"),
    ],
)
def test_choice(make_exportable: Callable, heads: dict, expected: str) -> None:
    assert make_exportable(**heads).head.name == expected


def test_choice_without_a_masked_lm_head(make_exportable: Callable) -> None:
    model = make_exportable(classes={"one": 2, "two": 3}).model
    model.masked_lm_head = None
    assert choose_head(model).kind == "encoder"


def test_an_unknown_head(make_exportable: Callable) -> None:
    with pytest.raises(UserError, match="has no head 'three'; give --head one of masked-lm, encoder, one, question-a"):
        make_exportable(classes={"one": 2}, answers=True, head="three")


def test_what_an_imported_classifier_says_of_its_outputs(make_exportable: Callable, tmp_path: Path) -> None:
    meaning = {"labels": ["bad", "so-so", "good"], "problem_type": "multi_label_classification"}
    exportable = make_exportable(classes={"rating": 3})
    assert (exportable.class_names[2], exportable.problem_type) == ("LABEL_2", "single_label_classification")
    exportable = replace(exportable, checkpoint={**exportable.checkpoint, "task_state": {"classification": meaning}})
    export(exportable, tmp_path / "rater", ExportOptions())
    config = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rater").config
    assert config.id2label == {0: "bad", 1: "so-so", 2: "good"}
    assert config.problem_type == "multi_label_classification"


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_classification(make_exportable: Callable, tmp_path: Path, classes: int) -> None:
    names = tuple(f"class {index}" for index in range(classes))
    exportable = replace(make_exportable(classes={"rating": classes}), labels=names)
    export(exportable, tmp_path / "rater", ExportOptions())
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rater")
    assert type(model).__name__ == "DistilBertForSequenceClassification"
    assert model.config.id2label == dict(enumerate(names)) and model.config.num_labels == classes
    assert model.config.problem_type == ("regression" if classes == 1 else "single_label_classification")
    inputs = AutoTokenizer.from_pretrained(tmp_path / "rater")(SENTENCE, return_tensors="pt")
    expected = exportable.model(our_tokens(exportable), classification_head_name="rating")[0]
    torch.testing.assert_close(model(**inputs).logits, expected, atol=1e-5, rtol=1e-5)
    (best,) = pipeline("text-classification", model=str(tmp_path / "rater"))(SENTENCE)
    assert best["label"] == names[expected.argmax()]


def test_names_of_classes_that_are_not_given(make_exportable: Callable, tmp_path: Path) -> None:
    export(make_exportable(classes={"rating": 2}), tmp_path / "rater", ExportOptions())
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rater")
    assert model.config.id2label == {0: "LABEL_0", 1: "LABEL_1"}


@pytest.mark.parametrize(
    ("architecture", "prefix"), [("distilbert", "DistilBert"), ("bert", "Bert"), ("roberta", "Roberta")]
)
def test_question_answering(make_exportable: Callable, tmp_path: Path, architecture: str, prefix: str) -> None:
    exportable = make_exportable(answers=True)
    export(exportable, tmp_path / "reader", ExportOptions(architecture=architecture))
    model = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "reader")
    assert type(model).__name__ == f"{prefix}ForQuestionAnswering"
    outputs = model(**AutoTokenizer.from_pretrained(tmp_path / "reader")(SENTENCE, return_tensors="pt"))
    expected = exportable.model(our_tokens(exportable), answer_logits=True)[0]
    found = torch.stack([outputs.start_logits, outputs.end_logits], -1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", ["distilbert", "bert", "roberta"])
def test_encoder(make_exportable: Callable, tmp_path: Path, architecture: str) -> None:
    exportable = make_exportable(head="encoder")
    export(exportable, tmp_path / "encoder", ExportOptions(architecture=architecture))
    model = AutoModel.from_pretrained(tmp_path / "encoder")
    assert model.config.architectures == [type(model).__name__]
    inputs = AutoTokenizer.from_pretrained(tmp_path / "encoder")(SENTENCE, return_tensors="pt")
    expected = exportable.model(our_tokens(exportable), features_only=True)[0]
    torch.testing.assert_close(model(**inputs).last_hidden_state, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_another_head_for_classification(make_exportable: Callable, tmp_path: Path, architecture: str) -> None:
    exportable = make_exportable(classes={"rating": 2})
    message = f"--architecture {architecture}: its head for classification is built otherwise than rating, which is "
    with pytest.raises(UserError, match=f"^{message}DistilBERT's; give --architecture distilbert$"):
        export(exportable, tmp_path / "rater", ExportOptions(architecture=architecture))
    assert not (tmp_path / "rater").exists()


def test_another_inner_width(make_exportable: Callable, tmp_path: Path) -> None:
    exportable = make_exportable(classes={"rating": 2})
    exportable.model.register_classification_head("rating", 2, inner_dim=5)
    message = "head rating has an inner width of 5, and this architecture has the encoder's 12 only"
    with pytest.raises(UserError, match=message):
        export(exportable, tmp_path / "rater", ExportOptions())
