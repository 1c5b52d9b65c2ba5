"""What stored soft targets depend on: a folder that was filled under other settings is filled again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from .losses_of_students import results
from .stored_soft_targets import batch


@pytest.fixture
def changed(stored_run: Callable, tmp_path: Path, told: Callable) -> Callable[..., list[str]]:
    def warnings_of(
        noise: float = 0.0, of_teacher: int = 0, dtype: torch.dtype | None = None, **settings: Any
    ) -> list[str]:
        """The warnings of a run, one of whose teachers is changed; a second one of the same kind must have none."""
        warnings = []
        for _ in range(2):
            run = stored_run(**settings)
            with torch.no_grad():
                run.model.teachers[of_teacher].masked_lm_head.bias += noise
            with torch.autocast("cpu", dtype, enabled=dtype is not None):
                results(run, batch(run, "valid", [0, 1]))
            warnings.append([line for line in told() if line.endswith("they are computed again")])
        assert warnings[1] == []
        return [line.removeprefix(f"teacher outputs {tmp_path}/valid.1.teacher: of other ") for line in warnings[0]]

    return warnings_of


def test_what_makes_it_compute_again(changed: Callable) -> None:
    assert changed() == []
    assert changed(noise=1.0) == ["teacher; they are computed again"]
    assert changed(criterion={"soft_target_temperature": 2.0}) == ["teacher and soft targets; they are computed again"]
    assert changed(criterion={"soft_target_top_k": 4}) == ["soft targets; they are computed again"]
    assert changed(dtype=torch.bfloat16) == ["type of products and soft targets; they are computed again"]
    assert changed(leave_unmasked_prob=0.2) == ["type of products and data; they are computed again"]
    assert changed(criterion={"mlm_weight": 0.0}) == ["data; they are computed again"]
    assert changed(criterion={"soft_target_weight": 1.0}) == []


def test_several_teachers_whose_second_or_whose_weights_are_others(changed: Callable, two_teachers: str) -> None:
    assert changed(teacher=two_teachers) == []
    assert changed(teacher=two_teachers, of_teacher=1, noise=1.0) == ["teacher; they are computed again"]
    assert changed(teacher=two_teachers) == ["teacher; they are computed again"]
    weighted = {"teacher_weights": [1.0, 3.0]}
    assert changed(teacher=two_teachers, model=weighted) == ["teachers' weights; they are computed again"]


def test_masks_at_other_places_of_the_same_tokens(stored_run: Callable, tmp_path: Path, told: Callable) -> None:
    """Masked tokens stay as they are, and two seeds select equally many of them: only their places differ."""
    unchanged = {"leave_unmasked_prob": 1.0, "random_token_prob": 0.0}
    plain, first, second = (
        stored_run(cache, seed=seed, **unchanged) for cache, seed in ((None, 4), (tmp_path, 1), (tmp_path, 4))
    )
    one, other = (run.batch("valid") for run in (first, second))
    assert torch.equal(one["net_input"]["src_tokens"], other["net_input"]["src_tokens"])
    masked = one["positions"]["masked"], other["positions"]["masked"]
    assert len(masked[0]) == len(masked[1]) and not torch.equal(*masked)
    results(first, batch(first, "valid", [0, 1]))
    told()
    found, expected = (results(run, batch(run, "valid", [3, 7, 2])) for run in (second, plain))
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)
    assert told()[0].endswith("valid.1.teacher: of other data; they are computed again")
