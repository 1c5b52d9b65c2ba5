"""Jobs with curves of a fine-tuning that took place, and scores of a teacher and a student."""

from collections.abc import Callable
from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from fairseq_distil.evaluation.retention.downstream_tasks import DOWNSTREAM_TASKS, EXAMPLES
from fairseq_distil.evaluation.retention.retention import Retention

from .program_jobs import ProgramJob

RTE, STS_B = DOWNSTREAM_TASKS["RTE"], DOWNSTREAM_TASKS["STS-B"]


@pytest.fixture
def write_curve() -> Callable[..., Path]:
    def write(folder: Path, **scalars: list[float]) -> Path:
        with SummaryWriter(str(folder)) as writer:
            for name, values in scalars.items():
                for index, value in enumerate(values):
                    writer.add_scalar(name, value, 10 * index)
        return folder

    return write


@pytest.fixture
def make_job(tmp_path: Path, write_curve: Callable) -> Callable[..., ProgramJob]:
    """Makes a job that would find 61 percent in its curves."""
    (tmp_path / "model.pt").write_bytes(b"weights")
    (tmp_path / "data").mkdir()

    def make(seed: int, program: str = "pass") -> ProgramJob:
        folder = tmp_path / "runs" / f"seed{seed}"
        recipe, data = EXAMPLES / RTE.recipe, tmp_path / "data"
        job = ProgramJob("student", tmp_path / "model.pt", RTE, recipe, data, seed, folder, program=program)
        write_curve(job.curves / "valid", accuracy=[52.0, 61.0, 60.0])
        return job

    return make


def correlations(*averages: float) -> list[dict[str, float]]:
    return [{"pearson_and_spearman": value, "pearson": value + 1, "spearman": value - 1} for value in averages]


@pytest.fixture
def retention() -> Retention:
    return Retention(
        models=("teacher", "student"),
        tasks=(RTE, STS_B),
        runs={
            ("teacher", "RTE"): [{"accuracy": value} for value in (70.0, 60.0, 80.0)],
            ("teacher", "STS-B"): correlations(90.0, 86.0, 90.0),
            ("student", "RTE"): [{"accuracy": value} for value in (65.0, 66.0, 50.0)],
            ("student", "STS-B"): correlations(80.0, 85.0, 84.0),
        },
        chance={"RTE": 52.0, "STS-B": 0.0},
    )
