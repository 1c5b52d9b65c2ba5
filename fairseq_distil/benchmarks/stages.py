"""How long each stage of a step takes."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch.profiler import record_function

from .training_parts import TrainingParts

STAGES = ("batch", "teacher forward", "student forward", "loss", "backward", "clipping", "optimizer")
"""In the order of the step; ``loss`` is the criterion without the two encoders."""
PREFIX = "stage "
OF_TEACHERS = ("teacher_states", "further_teacher_projections")
"""Methods of a student in which its teachers run."""


class StageClock:
    """Adds up the time of stages; a stage within another is taken out of the outer one.

    Each stage is a range of torch's profiler too, named ``stage ...``.

    Args:
        synchronize: waits until the device has done what it was given
        now: the time in seconds
    """

    def __init__(
        self, synchronize: Callable[[], None] = lambda: None, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._synchronize = synchronize
        self._now = now
        self._within: list[float] = []

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the time of the context as stage ``name``."""
        self._synchronize()
        start = self._now()
        self._within.append(0.0)
        with record_function(PREFIX + name):
            yield
            self._synchronize()
        elapsed = self._now() - start
        self.seconds[name] += elapsed - self._within.pop()
        if self._within:
            self._within[-1] += elapsed


class Watched:
    """Stands for a part of the step, and tells the clock when some of its methods run."""

    def __init__(self, part: Any, clock: StageClock, stage_of_method: Mapping[str, str]) -> None:
        self._part = part
        self._clock = clock
        self._stage_of_method = stage_of_method

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._part, name)
        stage = self._stage_of_method.get(name)
        return attribute if stage is None else self._timed(attribute, stage)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._timed(self._part, self._stage_of_method["__call__"])(*arguments, **named)

    def _timed(self, function: Callable, stage: str) -> Callable:
        def timed(*arguments: Any, **named: Any) -> Any:
            with self._clock(stage):
                return function(*arguments, **named)

        return timed


def watch(parts: TrainingParts, clock: StageClock) -> TrainingParts:
    """The same parts, but the clock is told of the stages that lie within the task's step."""
    return TrainingParts(
        parts.task,
        Watched(parts.model, clock, {"__call__": "student forward", **dict.fromkeys(OF_TEACHERS, "teacher forward")}),
        Watched(parts.criterion, clock, {"__call__": "loss"}),
        Watched(parts.optimizer, clock, {"backward": "backward"}),
    )
