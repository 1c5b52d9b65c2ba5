"""How many updates the quickstart makes on a machine."""

import math
import runpy
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "quickstart" / "plan_training.py"

plan_training = runpy.run_path(str(SCRIPT))
MOST = {"teacher_updates": 3500, "student_updates": 600}


def plan(update: float, start: float, left: float) -> NamedTuple:
    """Of a machine on which the student's update takes three times as long as the teacher's."""
    seconds = plan_training["Updates"](teacher=update, student=3 * update, no_teacher=0.5 * update)
    return plan_training["plan"](**MOST, seconds=seconds, start=start, left=left)


def test_a_fast_machine_makes_all_updates() -> None:
    assert plan(update=0.01, start=1.0, left=1200.0)[:2] == (3500, 600)


@pytest.mark.parametrize("update", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("left", [900.0, 1200.0])
def test_a_slow_machine_makes_fewer_in_the_same_proportion_and_keeps_the_time(update: float, left: float) -> None:
    planned = plan(update=update, start=4.0, left=left)
    assert planned.teacher_updates < 3500
    assert planned.teacher_updates / planned.student_updates == pytest.approx(3500 / 600, rel=0.02)
    seconds = update * (planned.teacher_updates + 3.5 * planned.student_updates)
    assert 0.68 * left < seconds < 0.85 * left
    assert planned.minutes == pytest.approx(0.85 * left / 60, abs=0.6)


def test_a_fast_machine_is_told_its_own_minutes() -> None:
    assert plan(update=0.1, start=4.0, left=1200.0).minutes == 11


@pytest.mark.parametrize("left", [10.0, -500.0])
def test_some_updates_are_made_where_no_time_is_left(left: float) -> None:
    assert plan(update=1.0, start=4.0, left=left)[:2] == (175, 30)


def test_a_product_is_measured_in_a_moment() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        assert 0 < plan_training["seconds_of_product"](dtype) < math.inf


def test_a_slow_product_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    products = []

    def slow_product(self: torch.Tensor, other: torch.Tensor) -> None:
        products.append(other)
        time.sleep(0.31)

    monkeypatch.setattr(torch.Tensor, "__matmul__", slow_product)
    assert plan_training["seconds_of_product"](torch.float32) >= 0.3
    assert len(products) == 1


@pytest.mark.slow
def test_the_line_that_the_quickstart_reads(data: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    options = "--teacher-updates 100 --student-updates 20 --minutes 6000 --elapsed 0"
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--data", data, *options.split()])
    plan_training["main"]()
    dtype, teacher_updates, student_updates, minutes = capsys.readouterr().out.split()
    assert dtype in ("bfloat16", "none")
    assert (teacher_updates, student_updates) == ("100", "20")
    assert int(minutes) >= 1
