"""Where the time of a step goes: kinds of work, by stage."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from torch import nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from .profile_groups import GROUPS, MODULE_PREFIX, group_of
from .stages import PREFIX, STAGES
from .training_step import TrainingStep

BACKWARD_RANGE = "autograd::engine::evaluate_function: "


class StepProfile(NamedTuple):
    """Seconds of one step, profiled, which costs time itself."""

    seconds: dict[tuple[str, str], float]
    """by group and stage"""
    operations: dict[tuple[str, str], float]
    """by group and name of the operation"""


def profile_step(step: TrainingStep, models: Iterable[nn.Module], cuda: bool) -> StepProfile:
    """Run a step under torch's profiler.

    Args:
        step: warmed up, with the stages of a :class:`~fairseq_distil.benchmarks.stages.StageClock`
        models: whose modules are to be told apart; none where they are compiled
        cuda: whether to count the time of the GPU instead of the CPU's
    """
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda
    with module_ranges(models), profile(activities=activities) as profiler:
        step()
    return summarize(profiler.events(), cuda)


@contextmanager
def module_ranges(models: Iterable[nn.Module]) -> Iterator[None]:
    """Make each call of a module a range of the profiler, named after its class."""
    with ExitStack() as handles:
        for module in (module for model in models for module in model.modules()):
            ranges: list[record_function] = []

            def enter(module: nn.Module, _: Any, ranges: list[record_function] = ranges) -> None:
                ranges.append(record_function(MODULE_PREFIX + type(module).__name__))
                ranges[-1].__enter__()

            def leave(_module: nn.Module, _input: Any, _output: Any, ranges: list[record_function] = ranges) -> None:
                ranges.pop().__exit__(None, None, None)

            for handle in (module.register_forward_pre_hook(enter), module.register_forward_hook(leave)):
                handles.callback(handle.remove)
        yield


def summarize(events: Iterable[Any], cuda: bool) -> StepProfile:
    """Add up the own time of the profiler's events, see :class:`StepProfile`."""
    # A GPU's kernels are events of their own too; their time is counted with the operations that launched them.
    events = [event for event in events if event.device_type == DeviceType.CPU]
    scopes_of_forward = {
        event.sequence_nr: _ranges_around(event)
        for event in events
        if event.sequence_nr >= 0 and not any(name.startswith(BACKWARD_RANGE) for name in _ranges_around(event))
    }
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    operations: dict[tuple[str, str], float] = defaultdict(float)
    for event in events:
        own = (event.self_device_time_total if cuda else event.self_cpu_time_total) / 1e6
        if own <= 0:
            continue
        scopes = _ranges_around(event)
        group = group_of(event.name, _scopes_in_forward(event, scopes_of_forward) or scopes)
        seconds[group, _stage(scopes)] += own
        operations[group, event.name.removeprefix(BACKWARD_RANGE)] += own
    return StepProfile(dict(seconds), dict(operations))


def markdown(result: StepProfile, largest: int = 12) -> str:
    """Two tables: groups by stage, and the operations that take most."""
    total = sum(result.seconds.values())
    stages = [stage for stage in (*STAGES, "rest") if any(stage == found for _, found in result.seconds)]
    lines = [f"| ms of one step | {' | '.join(stages)} | all | % |", "|---" + "|---:" * (len(stages) + 2) + "|"]
    for group in (*GROUPS, None):
        cells = [sum(s for key, s in result.seconds.items() if _matches(key, group, stage)) for stage in stages]
        if sum(cells):
            texts = [f"{1000 * cell:,.1f}" if cell else "" for cell in (*cells, sum(cells))]
            lines.append(f"| {group or 'all'} | {' | '.join(texts)} | {100 * sum(cells) / total:.1f} |")
    lines += ["", "| operation | group | ms | % |", "|---|---|---:|---:|"]
    for (group, name), s in sorted(result.operations.items(), key=lambda item: -item[1])[:largest]:
        lines.append(f"| `{name}` | {group} | {1000 * s:,.1f} | {100 * s / total:.1f} |")
    return "\n".join(lines)


def _matches(key: tuple[str, str], group: str | None, stage: str) -> bool:
    return key[1] == stage and group in (None, key[0])


def _ranges_around(event: Any) -> list[str]:
    names = [event.name]
    while event.cpu_parent is not None:
        event = event.cpu_parent
        names.append(event.name)
    return names


def _scopes_in_forward(event: Any, scopes_of_forward: dict[int, list[str]]) -> list[str]:
    while event is not None and not event.name.startswith(BACKWARD_RANGE):
        event = event.cpu_parent
    return scopes_of_forward.get(event.sequence_nr, []) if event is not None else []


def _stage(scopes: list[str]) -> str:
    if any(scope.startswith(BACKWARD_RANGE) for scope in scopes):  # on a GPU, in a thread of its own
        return "backward"
    nearest = next((scope for scope in scopes if scope.startswith(PREFIX)), PREFIX + "rest")
    return nearest.removeprefix(PREFIX)
