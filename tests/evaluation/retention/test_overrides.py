"""Settings that are changed: of all recipes or of one, and those that are not to be."""

import pytest

from fairseq_distil.errors import UserError
from fairseq_distil.evaluation.retention.overrides import overrides_of, require_valid_overrides

OVERRIDES = ["SST-2:optimization.max_update=9", "optimization.lr=[1e-3]", "RTE:+a.b=1", "c.d=x:y"]


@pytest.mark.parametrize(
    ("task", "own"), [("SST-2", ("optimization.max_update=9",)), ("RTE", ("+a.b=1",)), ("CoLA", ())]
)
def test_those_of_a_task_come_last_so_that_they_win(task: str, own: tuple[str, ...]) -> None:
    assert overrides_of(task, OVERRIDES) == ("optimization.lr=[1e-3]", "c.d=x:y", *own)


def test_a_task_that_is_not_known() -> None:
    require_valid_overrides(OVERRIDES, ["SST-2", "RTE"])
    message = "--override RTE:\\+a.b=1: no task RTE; choose from CoLA, SST-2"
    with pytest.raises(UserError, match=message):
        require_valid_overrides(OVERRIDES, ["CoLA", "SST-2"])


@pytest.mark.parametrize("override", ["common.seed=7", "+model.pretrained=x", "RTE:checkpoint.save_dir=y"])
def test_what_tells_runs_apart_is_not_overridden(override: str) -> None:
    require_valid_overrides(["optimization.lr=[1]", "task.max_positions=9"], [])
    with pytest.raises(UserError, match="differs from run to run, and is set for each"):
        require_valid_overrides([override], ["RTE"])
