"""Settings that are changed: of all recipes or of one, and those that are not to be."""

from collections.abc import Callable

import pytest
from omegaconf import OmegaConf

from fairseq_distil.errors import UserError
from fairseq_distil.evaluation.retention.downstream_tasks import DOWNSTREAM_TASKS, EXAMPLES
from fairseq_distil.evaluation.retention.overrides import distillation_of, overrides_of, require_valid_overrides

OVERRIDES = ["SST-2:optimization.max_update=9", "optimization.lr=[1e-3]", "RTE:+a.b=1", "c.d=x:y"]


@pytest.mark.parametrize(
    ("task", "own"), [("SST-2", ("optimization.max_update=9",)), ("RTE", ("+a.b=1",)), ("CoLA", ())]
)
def test_those_of_a_task_come_last_so_that_they_win(task: str, own: tuple[str, ...]) -> None:
    assert overrides_of(task, OVERRIDES) == ("optimization.lr=[1e-3]", "c.d=x:y", *own)


def test_a_task_that_is_not_known() -> None:
    require_valid_overrides(OVERRIDES, ["SST-2", "RTE"], distils=False)
    message = "--override RTE:\\+a.b=1: no task RTE; choose from CoLA, SST-2"
    with pytest.raises(UserError, match=message):
        require_valid_overrides(OVERRIDES, ["CoLA", "SST-2"], distils=False)


@pytest.mark.parametrize("override", ["foo", "RTE:optimization.max_update"])
def test_a_setting_without_a_value(override: str) -> None:
    with pytest.raises(UserError, match=f"^--override {override}: expected KEY=VALUE or TASK:KEY=VALUE$"):
        require_valid_overrides([override], ["RTE"], distils=False)


@pytest.mark.parametrize(
    "override",
    [
        "common.seed=7",
        "+model.pretrained=x",
        "RTE:checkpoint.save_dir=y",
        "criterion._name=masked_lm",
        "+model.teacher=z",
    ],
)
def test_what_tells_runs_apart_is_not_overridden(override: str) -> None:
    require_valid_overrides(["optimization.lr=[1]", "task.max_positions=9"], [], distils=True)
    with pytest.raises(UserError, match="differs from run to run, and is set for each"):
        require_valid_overrides([override], ["RTE"], distils=True)


TEMPERATURE = ["RTE:criterion.soft_target_temperature=4", "+criterion.soft_target_temperature=3"]


@pytest.mark.parametrize(("task", "temperature"), [("RTE", "4"), ("SST-2", "3")])
def test_those_of_distillation_are_of_runs_with_a_teacher_alone(task: str, temperature: str) -> None:
    require_valid_overrides(TEMPERATURE, ["RTE"], distils=True)
    assert overrides_of(task, TEMPERATURE) == ()
    assert distillation_of(DOWNSTREAM_TASKS[task], TEMPERATURE) == (
        "model._name=teacher_student",
        "criterion._name=sentence_prediction_distillation",
        "++criterion.teacher_weight=1",
        f"++criterion.soft_target_temperature={temperature}",
    )
    with pytest.raises(UserError, match="criterion.soft_target_temperature is of a distilled model; name one"):
        require_valid_overrides(TEMPERATURE, ["RTE"], distils=False)


def test_that_of_squad_is_its_recipe(compose_recipe: Callable) -> None:
    squad = DOWNSTREAM_TASKS["SQuAD"]
    rest = ["task.data=x", "model.pretrained=y", "checkpoint.save_dir=z", "++model.teacher=t"]
    ours = compose_recipe(EXAMPLES / squad.recipe, *distillation_of(squad, []), *rest)
    theirs = compose_recipe(EXAMPLES / "squad/config/squad_distillation.yaml", *rest)
    assert OmegaConf.to_container(ours, resolve=True) == OmegaConf.to_container(theirs, resolve=True)
