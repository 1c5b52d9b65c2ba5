"""A fine-tuned teacher's checkpoint is there as long as a run learns from it, and then no more."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fairseq_distil.errors import UserError
from fairseq_distil.evaluation.retention.grid import run_grid
from fairseq_distil.evaluation.retention.jobs import Job
from fairseq_distil.version import source_version

from .program_jobs import ProgramJob

TEACHER = """
import sys, time
from pathlib import Path
folder = Path(sys.argv[1])
time.sleep(0.3)  # longer than a student would take to miss it
(folder / "checkpoints").mkdir(exist_ok=True)
with open(folder / "count", "a") as count: count.write("x")
(folder / "checkpoints" / "checkpoint_best.pt").write_text(f"fine-tuned {(folder / 'count').read_text()}")
"""
STUDENT = """
import sys
from pathlib import Path
folder = Path(sys.argv[1])
(folder / "checkpoints").mkdir(exist_ok=True)
with open(folder / "learned", "a") as learned: learned.write(Path(sys.argv[2]).read_text() + ";")
"""
COPY_CURVES = """
import shutil
assert not (folder / "result.json").exists()
shutil.copytree("{}", folder / "tensorboard" / "valid")  # refused where there is one
"""
FAILING = STUDENT + "raise SystemExit('error: interrupted')"


@pytest.fixture
def teacher(make_job: Callable) -> ProgramJob:
    return make_job(1, TEACHER)


@pytest.fixture
def make_student(make_job: Callable, teacher: ProgramJob, write_curve: Callable) -> Callable[..., ProgramJob]:
    """Makes a job that learns from the teacher, with curves again each time."""

    def make(name: str, program: str = STUDENT) -> ProgramJob:
        folder = teacher.folder.with_name(name)
        job = replace(teacher, model=name, folder=folder, teacher=teacher, program=program)
        write_curve(job.curves / "valid", accuracy=[50.0, 55.0])
        return job

    return make


def learned(student: Job) -> str:
    return (student.folder / "learned").read_text()


def test_a_student_waits_for_its_teacher(teacher: ProgramJob, make_student: Callable) -> None:
    students = [make_student("one"), make_student("two")]
    run_grid([teacher, *students], at_a_time=3)
    assert [learned(student) for student in students] == ["fine-tuned x;"] * 2
    assert students[0].result() == {"accuracy": 55.0}
    assert not any(job.checkpoints.exists() for job in (teacher, *students))
    run_grid([teacher, *students], at_a_time=3)
    assert (teacher.folder / "count").read_text() == "x"


def test_it_is_kept_while_a_student_is_unfinished(teacher: ProgramJob, make_student: Callable) -> None:
    done, failed = make_student("done"), make_student("failed", FAILING)
    with pytest.raises(UserError, match="failed, RTE, seed 1: failed with exit status 1: interrupted"):
        run_grid([teacher, done, failed], at_a_time=1)
    assert teacher.best_checkpoint.exists() and failed.checkpoints.exists() and not done.checkpoints.exists()
    run_grid([teacher, done, replace(failed, program=STUDENT)], at_a_time=1)
    assert learned(failed) == "fine-tuned x;" * 2
    assert learned(done) == "fine-tuned x;" and not teacher.checkpoints.exists()


def test_a_teacher_that_fails_fails_its_students(teacher: ProgramJob, make_student: Callable) -> None:
    failing = replace(teacher, program="raise SystemExit(1)")
    student = replace(make_student("one"), teacher=failing)
    with pytest.raises(UserError, match="student, RTE, seed 1: failed with exit status 1"):
        run_grid([failing, student], at_a_time=2)
    assert student.result() is None and not student.log.exists()


def test_one_that_is_gone_is_made_again(
    teacher: ProgramJob,
    make_student: Callable,
    write_curve: Callable,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As of a grid that had no such students. What had learned from the lost one begins again."""
    failed = make_student("failed", FAILING)
    with pytest.raises(UserError):
        run_grid([teacher, failed], at_a_time=1)
    (failed.checkpoints / "checkpoint_last.pt").write_text("of the first teacher")
    run_grid([teacher], at_a_time=1)
    assert teacher.result() is not None and not teacher.checkpoints.exists()

    curves = {score: write_curve(tmp_path / "later" / score, accuracy=[float(score)]) for score in ("64", "57")}
    again = TEACHER + COPY_CURVES.format(curves["64"])
    learns = "import sys, pathlib; assert not (pathlib.Path(sys.argv[1]) / 'checkpoints').exists()" + STUDENT
    settings = teacher.folder / "settings.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"version": "an earlier one"}))
    second = replace(teacher, program=again)
    student = replace(failed, program=learns + COPY_CURVES.format(curves["57"]), teacher=second)
    capsys.readouterr()
    run_grid([second, student], at_a_time=1)
    told = "student, RTE, seed 1: fine-tuned once more, to be learned from; its score is replaced"
    assert told in capsys.readouterr().err
    assert learned(failed) == "fine-tuned x;fine-tuned xx;"
    assert (teacher.result(), failed.result()) == ({"accuracy": 64.0}, {"accuracy": 57.0})
    assert teacher.version() == source_version()


@pytest.mark.parametrize("changed", ["checkpoint", "overrides"])
def test_results_of_another_teacher_are_not_used(
    teacher: ProgramJob, make_student: Callable, tmp_path: Path, changed: str
) -> None:
    student = make_student("one")
    run_grid([teacher, student], at_a_time=1)
    (tmp_path / "other.pt").write_bytes(b"other weights")
    other = replace(
        teacher,
        folder=teacher.folder.with_name("other"),
        **{"checkpoint": {"checkpoint": tmp_path / "other.pt"}, "overrides": {"overrides": ("a.b=1",)}}[changed],
    )
    with pytest.raises(UserError, match=f"{student.folder} is of another teacher than one, RTE, seed 1 is now"):
        run_grid([other, replace(student, teacher=other)], at_a_time=1)


def test_command(teacher: ProgramJob, make_student: Callable) -> None:
    student = make_student("one")
    assert Job.command(student)[-1] == f"++model.teacher={teacher.folder}/checkpoints/checkpoint_best.pt"
    assert not any("model.teacher" in argument for argument in Job.command(teacher))
