"""A case from its options, and the other way round."""

import argparse

import pytest
import torch

from fairseq_distil.benchmarks.training_case import TrainingCase, add_case_options, case_from
from fairseq_distil.errors import UserError
from fairseq_distil.modules import cpu_has_bfloat16


def parse(arguments: list[str]) -> TrainingCase:
    parser = argparse.ArgumentParser()
    add_case_options(parser)
    return case_from(parser.parse_args(arguments))


@pytest.mark.parametrize(
    "case",
    [
        TrainingCase(),
        TrainingCase(layers=4, width=64, heads=2, vocab=100, batch=3, length=20, steps=1, positions="masked"),
        TrainingCase(dtype="bfloat16", compile=True, teacher_dtype="bfloat16", loop="fairseq-train"),
        TrainingCase(objective="masked_lm", encoder="roberta"),
        TrainingCase(added="relations-uniform"),
        TrainingCase(padding=0.4),
    ],
)
def test_options_describe_the_case(case: TrainingCase) -> None:
    assert parse(case.options()) == case


def test_lengths_of_a_batch() -> None:
    assert TrainingCase(batch=3, length=20).lengths == [20, 20, 20]
    assert TrainingCase(batch=5, length=100, padding=0.4).lengths == [100, 80, 60, 40, 20]


def test_the_student_has_half_of_the_layers() -> None:
    assert TrainingCase(layers=5).student_layers == 2
    assert TrainingCase(layers=5, objective="masked_lm").student_layers == 5


def test_a_narrower_student_has_heads_as_wide_as_its_teachers() -> None:
    assert (TrainingCase().student_width, TrainingCase().student_heads) == (768, 12)
    assert (TrainingCase(added="narrower").student_width, TrainingCase(added="narrower").student_heads) == (512, 8)
    assert TrainingCase(added="narrower", width=8, heads=2).student_width == 4


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "same"),
        ({"dtype": "bfloat16"}, "bfloat16" if cpu_has_bfloat16() else "same"),
        ({"dtype": "bfloat16", "teacher_dtype": "float32"}, "float32"),
        ({"dtype": "bfloat16", "objective": "masked_lm"}, "same"),
    ],
)
def test_the_teacher_is_held_in_the_type_of_the_products(settings: dict, expected: str) -> None:
    assert TrainingCase(**settings).teacher_dtype == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 1}, "--layers is 1, but must be at least 2"),
        ({"batch": 0}, "--batch is 0, but must be at least 1"),
        ({"length": 2}, "--length is 2, but must be at least 3"),
        ({"padding": 0.5}, "--padding is 0.5, but must be from 0 to 0.45"),
        ({"padding": float("nan")}, "--padding is nan, but must be from 0 to 0.45"),
        ({"padding": 0.4, "batch": 1}, "--padding needs at least 2 sequences, none of less than 3 tokens"),
        ({"padding": 0.4, "length": 10}, "--padding needs at least 2 sequences, none of less than 3 tokens"),
        ({"padding": 0.4, "loop": "fairseq-train"}, "--padding is of the bare step; leave --loop out"),
        ({"vocab": 5}, "--vocab is 5, but must be at least 6"),
        ({"heads": 5}, "--heads 5 does not divide --width 768"),
        ({"positions": "some"}, "--positions is some; choose from all, masked"),
        ({"teacher_dtype": "bfloat16", "objective": "masked_lm"}, "--teacher-dtype is of a teacher, which masked_lm"),
        ({"positions": "masked", "objective": "masked_lm"}, "--positions is of the soft-target term"),
        ({"encoder": "roberta"}, "--encoder roberta cannot be distilled"),
        ({"encoder": "roberta", "objective": "masked_lm", "compile": True}, "has neither --compile nor"),
        ({"dtype": "float16"}, "--dtype is float16; choose from float32, bfloat16"),
        ({"layers": 99999999999}, "--layers is 99999999999, but must be at most 16777216"),
        ({"vocab": 10**30}, f"--vocab is {10**30}, but must be at most 16777216"),
        ({"added": "hidden", "objective": "masked_lm"}, "--added is to the objective of distillation"),
        ({"added": "narrower", "heads": 1}, "--added narrower needs at least 2 --heads, found 1"),
        ({"added": "top-k", "vocab": 63}, "--added top-k needs at least 64 --vocab, found 63"),
        ({"added": "stored-top-k", "vocab": 64}, "--added stored-top-k needs at least 65 --vocab, found 64"),
        ({"device": "nowhere"}, "--device nowhere: "),
        ({"device": "meta"}, "--device meta is not supported"),
    ],
)
def test_what_cannot_be(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        TrainingCase(**settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_must_be_there() -> None:
    with pytest.raises(UserError, match="torch finds no GPU here; use --device cpu"):
        TrainingCase(device="cuda")
