"""Hand-computed medians, averages and parts kept, and the tables and the picture of them."""

import json
from pathlib import Path

import pytest
from PIL import Image

from fairseq_distil.evaluation.machine import Machine
from fairseq_distil.evaluation.model_size import ModelSize
from fairseq_distil.evaluation.retention.downstream_tasks import DOWNSTREAM_TASKS
from fairseq_distil.evaluation.retention.origin import Origin
from fairseq_distil.evaluation.retention.report import write_retention_report
from fairseq_distil.evaluation.retention.retention import Retention

SIZES = [ModelSize("teacher", 6, 200, 8.0, 0.004), ModelSize("student", 3, 120, 5.0, 0.0025)]
MACHINE = Machine(cpu="a CPU", cores=2, gpu=None, torch="2.11.0")
ORIGIN = Origin(["common.cpu=true"], {"RTE": {"max_tokens": 128}, "STS-B": {"max_tokens": 128}}, {}, MACHINE)
RTE, STS_B = DOWNSTREAM_TASKS["RTE"], DOWNSTREAM_TASKS["STS-B"]


def test_medians_over_seeds(retention: Retention) -> None:
    assert retention.median("student", RTE) == 65.0
    assert retention.median("student", STS_B, "pearson") == 85.0
    assert retention.average("teacher") == (70 + 90) / 2


def test_part_of_the_teachers_average(retention: Retention) -> None:
    assert retention.kept("teacher") == 100
    assert retention.kept("student") == pytest.approx(100 * 74.5 / 80)
    assert retention.kept_above_chance("student") == pytest.approx(100 * (74.5 - 26) / (80 - 26))
    assert retention.kept_above_chance_by_seed("student") == pytest.approx(
        [100 * (average - 26) / (80 - 26) for average in (72.5, 75.5, 67)]
    )


def test_a_task_in_which_the_teacher_is_not_above_chance_does_not_count(retention: Retention, tmp_path: Path) -> None:
    half_learned = Retention(retention.models, retention.tasks, retention.runs, {"RTE": 60.0, "STS-B": 60.0})
    assert half_learned.kept_above_chance("student") == pytest.approx(80)
    assert half_learned.kept_above_chance_by_seed("student") == pytest.approx([100 * 20 / 30, 100 * 25 / 30, 80])
    text = write_retention_report(half_learned, SIZES, tmp_path, ORIGIN)
    assert "% of teacher's average above chance, of STS-B |" in text and "| 80.0 (66.7 to 83.3) |" in text
    nothing_learned = Retention(retention.models, retention.tasks, retention.runs, {"RTE": 60.0, "STS-B": 86.0})
    assert nothing_learned.kept_above_chance("student") is None
    assert nothing_learned.kept_above_chance_by_seed("student") == []


def test_scores_are_above_chance_by_more_than_their_rounding() -> None:
    """10 of 17 are 58.8235... percent, which a run keeps as 58.824."""
    runs = {("teacher", "RTE"): [{"accuracy": 58.824}]}
    assert Retention(("teacher",), (RTE,), runs, {"RTE": 1000 / 17}).tasks_above_chance() == ()
    runs = {("teacher", "RTE"): [{"accuracy": 58.825}]}
    assert Retention(("teacher",), (RTE,), runs, {"RTE": 1000 / 17}).tasks_above_chance() == (RTE,)


def test_a_teacher_that_has_learned_nothing(retention: Retention, tmp_path: Path) -> None:
    """A correlation of 0: there is no part of it that could be kept, and still a report."""
    cola = DOWNSTREAM_TASKS["CoLA"]
    runs = {("teacher", "CoLA"): [{"mcc": 0.0}], ("student", "CoLA"): [{"mcc": -3.0}]}
    nothing = Retention(("teacher", "student"), (cola,), runs, {"CoLA": 0.0})
    assert nothing.kept("student") is None and nothing.kept_above_chance("student") is None
    sizes = [ModelSize(name, 1, 1, 1.0, 1.0) for name in ("teacher", "student")]
    report = write_retention_report(nothing, sizes, tmp_path, ORIGIN)
    assert "| one seed " in report and "| -3.0 " in report and " to " not in report


def test_less_above_chance_than_between_seeds_says_nothing(retention: Retention) -> None:
    runs = retention.runs | {("teacher", "RTE"): [{"accuracy": value} for value in (53.0, 20.0, 90.0)]}
    unsteady = Retention(retention.models, (RTE,), runs, {"RTE": 52.0})
    assert unsteady.kept_above_chance("student") is None


def test_report(retention: Retention, tmp_path: Path) -> None:
    text = write_retention_report(retention, SIZES, tmp_path / "new", ORIGIN)
    assert text.startswith(
        "Fine-tuned by examples/glue/config/rte.yaml, examples/glue/config/stsb.yaml, changed by: common.cpu=true.\n"
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line]
    assert ["RTE, accuracy", "70.0 (60.0 to 80.0)", "65.0 (50.0 to 66.0)", "52.0"] in rows
    assert ["average", "80.0", "74.5", "26.0"] in rows
    assert ["% of teacher's average", "100.0", "93.1", ""] in rows
    assert ["% of teacher's average above chance", "100.0 (87.0 to 109.3)", "89.8 (75.9 to 91.7)", ""] in rows
    assert ["STS-B, spearman", "89.0 (85.0 to 89.0)", "83.0 (79.0 to 84.0)"] in rows
    assert ["student", "3", "120", "60%", "5.0", "2.50", "1.60x"] in rows
    assert ["average", "79.2", "73.4", "92.7"] in rows  # the paper's, of these two tasks
    assert (tmp_path / "new" / "report.md").read_text() == text + "\n"

    report = json.loads((tmp_path / "new" / "report.json").read_text())
    assert report["teacher"] == "teacher"
    assert report["models"][1]["percent_kept"] == pytest.approx(93.125)
    assert report["models"][1]["tasks"]["RTE"] == {
        "metric": "accuracy",
        "median": 65.0,
        "runs": [{"accuracy": 65.0}, {"accuracy": 66.0}, {"accuracy": 50.0}],
    }
    with Image.open(tmp_path / "new" / "report.png") as picture:
        picture.load()
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"report.md", "report.json", "report.png"}


def test_every_task_has_a_recipe_that_chooses_by_its_metric() -> None:
    examples = Path(__file__).parents[3] / "examples"
    for task in DOWNSTREAM_TASKS.values():
        recipe = examples / task.recipe
        files = [path.read_text(encoding="utf-8") for path in (recipe, recipe.with_name("shared.yaml"))]
        assert sum(f"best_checkpoint_metric: {task.metric}\n" in text for text in files) == 1, task.name
