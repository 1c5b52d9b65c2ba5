"""A clock that jumps, and parts that tell it of their methods."""

from fairseq_distil.benchmarks.stages import STAGES, StageClock, Watched, watch
from fairseq_distil.benchmarks.training_step import TrainingStep


def test_an_inner_stage_is_taken_out_of_the_outer_one() -> None:
    moments = iter([0.0, 1.0, 4.0, 5.0, 7.0, 10.0])
    clock = StageClock(now=lambda: next(moments))
    with clock("loss"):
        with clock("teacher forward"):
            pass
        with clock("student forward"):
            pass
    assert clock.seconds == {"teacher forward": 3.0, "student forward": 2.0, "loss": 5.0}


def test_a_watched_part_is_the_part() -> None:
    class Part:
        size = 3

        def __call__(self, value: int, factor: int = 1) -> int:
            return value * factor

        def other(self) -> str:
            return "other"

    moments = iter(range(100))
    clock = StageClock(now=lambda: next(moments))
    part = Watched(Part(), clock, {"__call__": "whole", "other": "method"})
    assert (part(2, factor=5), part.other(), part.size) == (10, "other", 3)
    assert clock.seconds == {"whole": 1, "method": 1}


def test_all_stages_of_a_real_step(tiny_case, parts_of) -> None:
    case = tiny_case()
    clock = StageClock()
    TrainingStep(watch(parts_of(case), clock), case, clock)()
    assert set(clock.seconds) == set(STAGES)
    assert all(seconds > 0 for seconds in clock.seconds.values())
