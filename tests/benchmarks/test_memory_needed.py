"""Sizes that no machine has the memory for, and those that were measured."""

import pytest

from fairseq_distil.benchmarks.memory_needed import least_bytes, require_memory
from fairseq_distil.benchmarks.training_case import TrainingCase
from fairseq_distil.errors import UserError

LARGEST = 2**24


def test_by_the_formula() -> None:
    case = TrainingCase(layers=4, width=6, heads=3, vocab=70, batch=2, length=5, added="second-teacher")
    student, teacher = 12 * 2 * 36 + 70 * 6, 12 * 4 * 36 + 70 * 6
    assert least_bytes(case) == 16 * student + 2 * 2 * teacher + 24 * 10 * 6 * 2 + 7 * 10 * 5 * 3 * 2


def test_padding_needs_none_but_in_attention() -> None:
    sizes = {"layers": 4, "width": 6, "heads": 3, "vocab": 70, "batch": 4, "length": 100}
    spared = least_bytes(TrainingCase(**sizes)) - least_bytes(TrainingCase(**sizes, padding=0.25))
    assert spared == 24 * 100 * 6 * 2


@pytest.mark.parametrize(
    ("settings", "measured_gib"),
    [({"dtype": "bfloat16"}, 2.6), ({"layers": 2, "width": 8, "heads": 2, "vocab": 20, "batch": 2, "length": 8}, 0.4)],
)
def test_what_has_been_measured_is_more(settings: dict, measured_gib: float) -> None:
    assert least_bytes(TrainingCase(**settings)) / 2**30 < measured_gib
    require_memory(TrainingCase(**settings))


@pytest.mark.parametrize("name", ["batch", "length", "layers", "vocab", "steps"])
def test_more_than_any_machine_has(name: str) -> None:
    with pytest.raises(UserError, match=rf"^needs at least .* GiB \(.*--{name} {LARGEST}\b.*; give smaller sizes$"):
        require_memory(TrainingCase(**{"width": 8192, "heads": 128, "batch": 64, name: LARGEST}))
