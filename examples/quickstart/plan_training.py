"""Measure this machine, and plan how many updates the quickstart makes on it.

    python examples/quickstart/plan_training.py --data DATA --teacher-updates 3500 --student-updates 600 \\
        --minutes 20 --elapsed 90

Prints the type in which matrices are multiplied fastest, bfloat16 or none (which means float32), the updates of the
teacher and of each student, at most as many as were asked for, and the minutes that the rest of the quickstart takes.
"""

import argparse
import logging
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

logging.basicConfig(level=logging.WARNING)  # before fairseq, which would show all that it logs

import torch  # noqa: E402
from fairseq.trainer import Trainer  # noqa: E402

import fairseq_distil  # noqa: E402, F401  registers the parts
from fairseq_distil.benchmarks.recipe_trainer import recipe_trainer  # noqa: E402

CONFIG = Path(__file__).resolve().parent / "config"
PRODUCT = (512, 256, 1024)
MOST_SECONDS_OF_PRODUCTS = 0.3
MOST_SECONDS_OF_UPDATES = 2.0
FEWEST_TIMINGS, MOST_TIMINGS = 3, 10

VALIDATION = 1.1
"""Updates with validation and checkpoints, in updates."""
STARTS = 12
"""Three trainings, the comparison and the curves, in times of the imports above."""
SHARE = 0.85
"""Part of the time that is planned for; the rest is for what was not foreseen."""
FEWEST = 0.05
"""Part of the updates that is made on however slow a machine: with fewer, nothing is learnt."""


class Plan(NamedTuple):
    """What is done on this machine."""

    teacher_updates: int
    student_updates: int
    minutes: int
    """that it takes"""


def seconds_of_product(dtype: torch.dtype) -> float:
    """Best of a few timings of one product of the kind that training a small encoder has."""
    rows, inner, columns = PRODUCT
    left, right = torch.randn(rows, inner, dtype=dtype), torch.randn(inner, columns, dtype=dtype)
    timings: list[float] = []
    while len(timings) < MOST_TIMINGS and sum(timings) < MOST_SECONDS_OF_PRODUCTS:
        start = time.perf_counter()
        left @ right
        timings.append(time.perf_counter() - start)
    return min(timings)


def fastest_dtype() -> str:
    """``bfloat16`` or ``none``. A CPU without bfloat16 instructions emulates them, many times slower."""
    return "bfloat16" if seconds_of_product(torch.bfloat16) < seconds_of_product(torch.float32) else "none"


class Updates(NamedTuple):
    """Seconds of an update of each model."""

    teacher: float
    student: float
    no_teacher: float


def seconds_of_updates(data: Path, dtype: str) -> Updates:
    """Of each recipe; the student's teacher is the one that was just measured."""
    common = (f"task.data={data}", f"task.autocast_dtype={dtype}", "checkpoint.save_dir=none")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = f"{folder}/teacher.pt"
        teacher = recipe_trainer(CONFIG, "teacher", *common)
        seconds_of_teacher = seconds_of_update(teacher)
        teacher.consolidate_optimizer()
        teacher.save_checkpoint(checkpoint, {"epoch": 1})
        student = recipe_trainer(CONFIG, "student", *common, f"model.teacher={checkpoint}")
    no_teacher = recipe_trainer(CONFIG, "no_teacher", *common)
    return Updates(seconds_of_teacher, seconds_of_update(student), seconds_of_update(no_teacher))


def seconds_of_update(trainer: Trainer) -> float:
    """Shortest of a few updates on one batch, so that what else the machine does for a moment does not count."""
    dataset = trainer.task.dataset("train")
    batch = dataset.collater([dataset[index % len(dataset)] for index in range(trainer.cfg.dataset.batch_size)])
    timings: list[float] = []
    while len(timings) < FEWEST_TIMINGS or (len(timings) < MOST_TIMINGS and sum(timings) < MOST_SECONDS_OF_UPDATES):
        start = time.perf_counter()
        trainer.train_step([batch])
        timings.append(time.perf_counter() - start)
    return min(timings)


def plan(teacher_updates: int, student_updates: int, seconds: Updates, start: float, left: float) -> Plan:
    """As many of the updates as there is time for, of both in the same proportion.

    Args:
        teacher_updates: of the teacher, at most
        student_updates: of each student, at most
        seconds: of an update of each model
        start: seconds that the imports take
        left: seconds for all that is yet to do
    """
    others = STARTS * start
    students = seconds.student + seconds.no_teacher
    all_updates = VALIDATION * (teacher_updates * seconds.teacher + student_updates * students)
    part = min(1.0, max(FEWEST, (SHARE * left - others) / all_updates))
    minutes = max(1, round((others + part * all_updates) / 60))
    return Plan(round(part * teacher_updates), round(part * student_updates), minutes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="binarised data")
    parser.add_argument("--teacher-updates", type=int, required=True, help="at most")
    parser.add_argument("--student-updates", type=int, required=True, help="at most, of each student")
    parser.add_argument("--minutes", type=float, required=True, help="for the whole quickstart")
    parser.add_argument("--elapsed", type=float, required=True, help="seconds of them that have passed")
    arguments = parser.parse_args()
    begin, start = time.monotonic(), time.process_time()
    dtype = fastest_dtype()
    seconds = seconds_of_updates(arguments.data, dtype)
    left = 60 * arguments.minutes - arguments.elapsed - start - (time.monotonic() - begin)
    print(dtype, *plan(arguments.teacher_updates, arguments.student_updates, seconds, start, left))


if __name__ == "__main__":
    main()
