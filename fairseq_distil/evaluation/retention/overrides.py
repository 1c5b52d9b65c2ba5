"""Settings of the recipes that a comparison changes: of all tasks, ``KEY=VALUE``, or of one, ``TASK:KEY=VALUE``."""

from collections.abc import Collection, Sequence

from fairseq_distil.errors import UserError

from .downstream_tasks import DownstreamTask

SET_FOR_EACH_RUN = (
    "common.user_dir",
    "common.seed",
    "common.log_format",
    "common.tensorboard_logdir",
    "task.data",
    "model._name",
    "model.pretrained",
    "model.teacher",
    "criterion._name",
    "checkpoint.save_dir",
    "distributed_training.distributed_world_size",
)
"""Settings that tell one run from another, and are not to be overridden."""
OF_DISTILLATION = {"criterion.teacher_weight": 1, "criterion.soft_target_temperature": 2}
"""Settings that only runs with a teacher have, and the paper's values."""


def overrides_of(task: str, overrides: Sequence[str]) -> tuple[str, ...]:
    """Those of one task, as ``fairseq-hydra-train`` takes them: of all tasks first, so that its own win."""
    return tuple(setting for setting in _of_task(task, overrides) if _name(setting) not in OF_DISTILLATION)


def distillation_of(task: DownstreamTask, overrides: Sequence[str]) -> tuple[str, ...]:
    """What a run with a teacher has besides: model and criterion, and ``OF_DISTILLATION``, perhaps changed."""
    settings = OF_DISTILLATION.copy()
    for setting in _of_task(task.name, overrides):
        if _name(setting) in settings:
            settings[_name(setting)] = setting.partition("=")[2]
    parts = ("model._name=teacher_student", f"criterion._name={task.distillation}")
    return parts + tuple(f"++{name}={value}" for name, value in settings.items())


def require_valid_overrides(overrides: Sequence[str], tasks: Collection[str], distils: bool) -> None:
    """Check that they are of tasks that are known, and of settings that may be changed.

    Args:
        overrides: all of them
        tasks: names
        distils: whether there are runs with a teacher

    Raises:
        UserError: they are not
    """
    for override in overrides:
        task, setting = _split(override)
        if task is not None and task not in tasks:
            raise UserError(f"--override {override}: no task {task}; choose from {', '.join(tasks)}")
        if "=" not in setting and not setting.startswith("~"):
            raise UserError(f"--override {override}: expected KEY=VALUE or TASK:KEY=VALUE")
        name = _name(setting)
        if name in OF_DISTILLATION and not distils:
            raise UserError(f"--override {override}: {name} is of a distilled model; name one, --distil NAME=PATH")
        if name in SET_FOR_EACH_RUN:
            raise UserError(f"--override {override}: {name} differs from run to run, and is set for each")


def _name(setting: str) -> str:
    return setting.lstrip("+~").partition("=")[0]


def _of_task(task: str, overrides: Sequence[str]) -> list[str]:
    split = [_split(override) for override in overrides]
    return [setting for wanted in (None, task) for name, setting in split if name == wanted]


def _split(override: str) -> tuple[str | None, str]:
    """The task, None for all, and the setting."""
    task, separator, setting = override.partition(":")
    return (task, setting) if separator and "=" not in task else (None, override)
