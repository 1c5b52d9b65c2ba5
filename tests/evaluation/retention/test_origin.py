"""How scores came about, in words and for programs, and runs of other versions among them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fairseq_distil.evaluation.machine import Machine
from fairseq_distil.evaluation.retention import jobs as jobs_module
from fairseq_distil.evaluation.retention.downstream_tasks import DOWNSTREAM_TASKS
from fairseq_distil.evaluation.retention.grid import run_grid
from fairseq_distil.evaluation.retention.origin import Origin, runs_by_version
from fairseq_distil.version import source_version

MACHINE = Machine(cpu="a CPU", cores=2, gpu=None, torch="2.11.0")
SIZES = {
    "RTE": {"max_tokens": 128},
    "STS-B": {"max_tokens": 128},
    "SQuAD": {"length": 384, "stride": 128, "question_length": 64},
}
TASKS = [DOWNSTREAM_TASKS[name] for name in SIZES]


def test_in_words() -> None:
    origin = Origin(["common.cpu=true", "a.b=1"], SIZES, {source_version(): ["teacher, RTE, seed 1"]}, MACHINE)
    assert origin.lines(TASKS) == [
        "Fine-tuned by examples/glue/config/rte.yaml, examples/glue/config/stsb.yaml, "
        "examples/squad/config/squad.yaml, changed by: common.cpu=true, a.b=1.",
        "Samples, in tokens: RTE, STS-B: max tokens 128; SQuAD: length 384, stride 128, question length 64.",
        f"fairseq_distil {source_version()}, torch 2.11.0 on a CPU, 2 cores, no GPU.",
    ]
    assert origin.lines(TASKS[:1])[0].startswith("Fine-tuned by examples/glue/config/rte.yaml, changed by: ")


def test_for_programs() -> None:
    written = Origin([], SIZES, {"0.0.1": ["teacher, RTE, seed 1"]}, MACHINE).as_dictionary()
    assert json.loads(json.dumps(written)) == {
        "overrides": [],
        "samples": SIZES,
        "version": source_version(),
        "runs_by_version": {"0.0.1": ["teacher, RTE, seed 1"]},
        "machine": {"cpu": "a CPU", "cores": 2, "gpu": None, "torch": "2.11.0"},
    }


def test_runs_of_other_versions_are_told(make_job: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of one version, of a grid that noted none, and of this one, which does not take over what others began."""
    jobs = [make_job(seed) for seed in (1, 2, 3)]
    with monkeypatch.context() as changed:
        changed.setattr(jobs_module, "source_version", lambda: "0.0.1+12345678")
        run_grid(jobs[:2], at_a_time=1)
    settings = jobs[1].folder / "settings.json"
    held = json.loads(settings.read_text())
    del held["version"]
    settings.write_text(json.dumps(held))
    run_grid(jobs, at_a_time=1)

    runs = runs_by_version(jobs)
    assert runs == {
        "0.0.1+12345678": ["student, RTE, seed 1"],
        "unknown": ["student, RTE, seed 2"],
        source_version(): ["student, RTE, seed 3"],
    }
    assert Origin([], SIZES, runs, MACHINE).lines(TASKS)[-1] == (
        "**Other versions have begun some of the runs, which report.json names: 0.0.1+12345678: 1, unknown: 1.**"
    )
