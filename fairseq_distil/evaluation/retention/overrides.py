"""Settings of the recipes that a comparison changes: of all tasks, ``KEY=VALUE``, or of one, ``TASK:KEY=VALUE``."""

from collections.abc import Collection, Sequence

from fairseq_distil.errors import UserError

SET_FOR_EACH_RUN = (
    "common.user_dir",
    "common.seed",
    "common.log_format",
    "common.tensorboard_logdir",
    "task.data",
    "model.pretrained",
    "checkpoint.save_dir",
    "distributed_training.distributed_world_size",
)
"""Settings that tell one run from another, and are not to be overridden."""


def overrides_of(task: str, overrides: Sequence[str]) -> tuple[str, ...]:
    """Those of one task, as ``fairseq-hydra-train`` takes them: of all tasks first, so that its own win."""
    split = [_split(override) for override in overrides]
    return tuple(setting for wanted in (None, task) for name, setting in split if name == wanted)


def require_valid_overrides(overrides: Sequence[str], tasks: Collection[str]) -> None:
    """Raise a UserError if one is of a task that is not known, or of a setting that tells one run from another."""
    for override in overrides:
        task, setting = _split(override)
        if task is not None and task not in tasks:
            raise UserError(f"--override {override}: no task {task}; choose from {', '.join(tasks)}")
        name = setting.lstrip("+~").partition("=")[0]
        if name in SET_FOR_EACH_RUN:
            raise UserError(f"--override {override}: {name} differs from run to run, and is set for each")


def _split(override: str) -> tuple[str | None, str]:
    """The task, None for all, and the setting."""
    task, separator, setting = override.partition(":")
    return (task, setting) if separator and "=" not in task else (None, override)
