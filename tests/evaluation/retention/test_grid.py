"""Jobs side by side, their failures, and what a second call does again. The commands are small programs."""

import fcntl
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fairseq_distil.errors import UserError
from fairseq_distil.evaluation.retention.downstream_tasks import DOWNSTREAM_TASKS
from fairseq_distil.evaluation.retention.grid import run_grid
from fairseq_distil.evaluation.retention.jobs import Job, best_scores, hydra_value

from ...forked_processes import ForkingServer

ROOT = Path(__file__).parents[3]
MRPC, RTE = DOWNSTREAM_TASKS["MRPC"], DOWNSTREAM_TASKS["RTE"]


def test_the_best_validation_counts(write_curve: Callable, tmp_path: Path) -> None:
    folder = write_curve(tmp_path / "valid", acc_and_f1=[50.0, 70.25, 60.0], accuracy=[80.0, 70.5, 1.0], f1=[1, 70, 2])
    assert best_scores(folder, MRPC) == {"acc_and_f1": 70.25, "accuracy": 70.5, "f1": 70.0}
    assert best_scores(folder, DOWNSTREAM_TASKS["CoLA"]) is None
    assert best_scores(tmp_path / "absent", MRPC) is None


def test_finished_jobs_are_not_run_again(make_job: Callable, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    count = "import sys; open(sys.argv[1] + '/count', 'a').write('x')"
    jobs = [make_job(seed, count) for seed in (1, 2, 3)]
    jobs[1].checkpoints.mkdir(parents=True)
    run_grid(jobs[:1], at_a_time=1)
    run_grid(jobs, at_a_time=2)
    assert [(job.folder / "count").read_text() for job in jobs] == ["x", "x", "x"]
    assert [job.result() for job in jobs] == [{"accuracy": 61.0}] * 3
    assert not jobs[1].checkpoints.exists()
    assert "student, RTE, seed 3: accuracy 61.00 (" in capsys.readouterr().err


def test_a_failure_names_its_log_and_stops_the_others(make_job: Callable) -> None:
    jobs = [make_job(1, "raise SystemExit('error: data x: no such file')"), make_job(2, "import time; time.sleep(60)")]
    start = time.monotonic()
    with pytest.raises(UserError) as raised:
        run_grid(jobs, at_a_time=2)
    assert time.monotonic() - start < 30
    expected = f"student, RTE, seed 1: failed with exit status 1: data x: no such file; see {jobs[0].log}"
    assert str(raised.value) == expected
    assert [job.result() for job in jobs] == [None, None]


def test_a_run_without_a_validation_is_no_result(make_job: Callable) -> None:
    job = replace(make_job(1), task=DOWNSTREAM_TASKS["CoLA"])
    with pytest.raises(UserError, match=r"student, CoLA, seed 1: no validation with mcc; see .*log"):
        run_grid([job], at_a_time=1)
    assert job.result() is None


@pytest.mark.parametrize("changed", ["checkpoint", "data", "overrides"])
def test_results_of_another_encoder_or_other_settings_are_not_used(
    make_job: Callable, tmp_path: Path, changed: str
) -> None:
    job = make_job(1)
    run_grid([job], at_a_time=1)
    if changed == "checkpoint":
        (tmp_path / "other.pt").write_bytes(b"other weights")
        other = replace(job, checkpoint=tmp_path / "other.pt")
    elif changed == "data":
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "valid.label").write_text("1\n")  # of the size and offsets that the first ones have
        other = replace(job, data=tmp_path / "other")
    else:
        other = replace(job, overrides=("optimization.lr=[1]",))
    told = {"overrides": r"set of overrides \(which differ in optimization\.lr=\[1\]\)"}.get(changed, changed)
    with pytest.raises(UserError, match=f"{job.folder} is of another {told} than student, RTE, seed 1 is now"):
        run_grid([other], at_a_time=1)


def test_settings_that_never_ran_may_be_mended(make_job: Callable) -> None:
    hydra = "import os, sys; os.makedirs(sys.argv[1] + '/checkpoints/.hydra'); raise SystemExit(1)"
    wrong = replace(make_job(1, hydra), overrides=("optimization.max_updates=2",))
    with pytest.raises(UserError, match="failed with exit status 1"):
        run_grid([wrong], at_a_time=1)
    right = replace(wrong, overrides=("optimization.max_update=2",), program="pass")
    run_grid([right], at_a_time=1)
    assert right.result() == {"accuracy": 61.0}


def test_two_grids_do_not_work_in_one_folder(make_job: Callable) -> None:
    job = make_job(1)
    job.prepare()
    with open(job.log, "ab") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=f"{job.folder}: another process works in it"):
            run_grid([job], at_a_time=1)
    run_grid([job], at_a_time=1)


def test_the_last_line_of_a_failure_is_what_went_wrong(make_job: Callable) -> None:
    lines = "Could not override 'a.b'.\\nKey 'b' is not in struct\\n    full_key: a.b\\n    object_type=C"
    with pytest.raises(UserError, match="exit status 1: Key 'b' is not in struct; see "):
        run_grid([make_job(1, f'raise SystemExit("{lines}")')], at_a_time=1)


def test_what_hydra_advises_is_told(make_job: Callable) -> None:
    lines = (
        "Could not override 'a.b'.\\nTo append to your config use +a.b=1\\nKey 'b' is not in struct\\n    full_key: a.b"
    )
    with pytest.raises(UserError, match=r"Key 'b' is not in struct; to append to your config use \+a\.b=1; see "):
        run_grid([make_job(1, f'raise SystemExit("{lines}")')], at_a_time=1)
    with pytest.raises(UserError, match="exit status 1: out of memory; see "):  # in the same log
        run_grid([make_job(1, "raise SystemExit('out of memory')")], at_a_time=1)


GRID = """
import sys
from pathlib import Path, PosixPath
from tests.evaluation.retention.program_jobs import ProgramJob
from fairseq_distil.evaluation.retention.downstream_tasks import DownstreamTask
from fairseq_distil.evaluation.retention.grid import run_grid
from fairseq_distil.exit_status import exit_status
sys.exit(exit_status(lambda: run_grid([{job!r}], 1)))
"""


def test_interrupted_jobs_end_with_the_grid_and_run_again(
    forking_server: ForkingServer, make_job: Callable, tmp_path: Path
) -> None:
    """The grid in a process of its own, which is told to stop by SIGTERM while a job sleeps."""
    sleep = "import os, sys, time; open(sys.argv[1] + '/pid', 'w').write(str(os.getpid())); time.sleep(100)"
    job = make_job(1, sleep)
    (tmp_path / "grid.py").write_text(GRID.format(job=job))
    grid = forking_server.start(tmp_path / "grid.py")
    pid = job.folder / "pid"
    deadline = time.monotonic() + 60
    while not (pid.exists() and pid.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(grid.id, signal.SIGTERM)
    ended = grid.wait()
    assert ended.returncode == 128 + signal.SIGTERM and "Traceback" not in ended.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert job.result() is None
    run_grid([replace(job, program="pass")], at_a_time=1)
    assert job.result() == {"accuracy": 61.0}


def test_command(make_job: Callable, tmp_path: Path) -> None:
    job = replace(make_job(3), folder=tmp_path / "a b", overrides=("common.cpu=true",))
    command = Job.command(job)
    assert Path(command[0]).name == "fairseq-hydra-train"
    assert command[1:5] == ["--config-dir", str(ROOT / "examples/glue/config"), "--config-name", "rte"]
    assert {
        f"task.data={tmp_path}/data",
        f"model.pretrained={tmp_path}/model.pt",
        f"checkpoint.save_dir='{tmp_path}/a b/checkpoints'",
        "common.seed=3",
        f"common.user_dir={ROOT}/fairseq_distil",
        "common.cpu=true",
    } <= set(command)


NAMES = ["plain-1.2_x", "with space", "comma,equals=1", "it's", "{braces}[x]", "per%cent#", "josé 数"]
NAMES += ["back\\slash", "both\\'", "end\\"]


@pytest.mark.parametrize("name", NAMES)
def test_paths_for_hydra(compose_recipe: Callable, tmp_path: Path, name: str) -> None:
    overrides = [f"task.data={hydra_value(tmp_path / name)}", "model.pretrained=x", "checkpoint.save_dir=x"]
    cfg = compose_recipe(ROOT / "examples" / RTE.recipe, *overrides)
    assert cfg.task.data == str(tmp_path / name)
