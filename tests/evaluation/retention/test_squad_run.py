"""SQuAD in the grid: what a run scores is what the official definition gives for its best checkpoint's answers."""

import copy
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fairseq_distil.evaluation.answer_prediction import predict_answers
from fairseq_distil.evaluation.retention.downstream_tasks import DOWNSTREAM_TASKS, EXAMPLES
from fairseq_distil.evaluation.retention.jobs import Job
from fairseq_distil.evaluation.retention.prepared_tasks import prepare_task
from fairseq_distil.evaluation.retention.retention import retention_of

SQUAD = DOWNSTREAM_TASKS["SQuAD"]


@pytest.fixture
def development(squad_content: dict[str, Any]) -> dict[str, Any]:
    """The questions with a second answer each, the first two words of the context."""
    content = copy.deepcopy(squad_content)
    for paragraph in content["data"][0]["paragraphs"]:
        context = paragraph["context"]
        second = {"text": context[: context.index(context.split()[2])].strip(), "answer_start": 0}
        for question in paragraph["qas"]:
            question["answers"].append(second)
    return content


def official_scores(predictions: dict[str, str], content: dict[str, Any]) -> dict[str, float]:
    """Means of the best over the gold answers, whose words, word0 to word40, need no normalisation."""
    questions = [question for paragraph in content["data"][0]["paragraphs"] for question in paragraph["qas"]]
    assert predictions.keys() == {question["id"] for question in questions}
    exact, f1 = [], []
    for question in questions:
        predicted = predictions[question["id"]].split()
        golds = [answer["text"].split() for answer in question["answers"]]
        common = [(Counter(predicted) & Counter(gold)).total() for gold in golds]
        exact.append(max(predicted == gold for gold in golds))
        f1.append(max(2 * n / (len(predicted) + len(gold)) for n, gold in zip(common, golds, strict=True)))
    return {"exact_match": 100 * sum(exact) / len(exact), "f1": 100 * sum(f1) / len(f1)}


def test_scores_are_those_of_the_official_definition(
    run_script: Callable,
    teacher_path: str,
    squad_file: Path,
    development: dict[str, Any],
    data_with_tokenizer: Path,
    tmp_path: Path,
) -> None:
    official = tmp_path / "SQuAD"
    official.mkdir()
    (official / "train-v1.1.json").write_bytes(squad_file.read_bytes())
    (official / "dev-v1.1.json").write_text(json.dumps(development))
    data = prepare_task(SQUAD, None, official, data_with_tokenizer, tmp_path / "data", positions=17)
    changes = ("common.cpu=true", "dataset.num_workers=0", "task.autocast_dtype=none", "optimization.lr=[0.01]")
    changes += ("optimization.max_update=15", "lr_scheduler.warmup_updates=1")
    folder = tmp_path / "run"
    job = Job("teacher", Path(teacher_path), SQUAD, EXAMPLES / SQUAD.recipe, data, 1, folder, overrides=changes)
    job.prepare()
    ended = run_script("fairseq-hydra-train", *job.command()[1:], folder=tmp_path)
    assert ended.returncode == 0, ended.stderr

    found = job.finish()
    expected = official_scores(predict_answers(job.best_checkpoint, data).answers(), development)
    assert found == pytest.approx(expected, abs=0.001) and 0 < found["exact_match"] < found["f1"] < 100
    retention = retention_of([job], {"SQuAD": 0.0})
    assert retention.median("teacher", SQUAD) == found["f1"]
    assert retention.median("teacher", SQUAD, "exact_match") == found["exact_match"]
