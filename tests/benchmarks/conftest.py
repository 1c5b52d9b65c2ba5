"""Cases small enough to run in no time."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fairseq_distil.benchmarks.random_data import write_random_data
from fairseq_distil.benchmarks.training_case import TrainingCase
from fairseq_distil.benchmarks.training_parts import TrainingParts, build_parts

TINY = {"layers": 4, "width": 12, "heads": 3, "vocab": 50, "batch": 3, "length": 10, "steps": 2}


@pytest.fixture(scope="session")
def tiny_case() -> Callable[..., TrainingCase]:
    """A case of tiny sizes, with other settings where they are given."""
    return lambda **settings: TrainingCase(**{**TINY, **settings})


@pytest.fixture
def parts_of(tmp_path: Path) -> Callable[[TrainingCase], TrainingParts]:
    """Builds the parts of a case on enough data for 4 steps."""

    def build(case: TrainingCase) -> TrainingParts:
        write_random_data(tmp_path, case.vocab, case.lengths, 4 * case.batch)
        return build_parts(case, tmp_path)

    return build
