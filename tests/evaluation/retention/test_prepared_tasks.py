"""Which tasks there are, and their data."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fairseq_distil.errors import UserError
from fairseq_distil.evaluation.retention.chance import chance
from fairseq_distil.evaluation.retention.downstream_tasks import DOWNSTREAM_TASKS
from fairseq_distil.evaluation.retention.prepared_tasks import find_tasks, prepare_task, sample_limits

RTE, STS_B = DOWNSTREAM_TASKS["RTE"], DOWNSTREAM_TASKS["STS-B"]


def write_mrpc(folder: Path, labels: list[int]) -> None:
    folder.mkdir()
    random.Random(2).shuffle(labels)
    rows = [f"{label}\t1\t2\tword1\tword2" for label in labels]
    for name in ("train", "dev"):
        header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"
        (folder / f"{name}.tsv").write_text("\n".join([header, *rows]) + "\n")


def test_tasks_that_are_there(glue: Path) -> None:
    (glue / "QNLI").mkdir()  # without train.tsv
    assert [task.name for task in find_tasks(glue, None, None)] == ["RTE"]
    assert [task.name for task in find_tasks(glue, glue, None)] == ["RTE", "SQuAD"]
    assert [task.name for task in find_tasks(glue, glue, ["SQuAD", "STS-B", "CoLA"])] == ["CoLA", "STS-B", "SQuAD"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["RTE", "SQuAD"], "--tasks: SQuAD needs --squad, the directory with its official files"),
        (["IMDb"], "--tasks: no task IMDb; choose from CoLA, MNLI"),
    ],
)
def test_tasks_that_are_not_there(glue: Path, names: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_tasks(glue, None, names)


def test_an_empty_directory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path}: no task of GLUE"):
        find_tasks(tmp_path, None, None)


def test_data_are_prepared_once(glue: Path, data_with_tokenizer: Path, tmp_path: Path) -> None:
    directory = prepare_task(RTE, glue, None, data_with_tokenizer, tmp_path / "out", positions=17)
    assert directory == tmp_path / "out" / "RTE"
    before = (directory / "input0" / "train.idx").stat().st_mtime_ns
    assert prepare_task(RTE, glue, None, data_with_tokenizer, tmp_path / "out", positions=17) == directory
    assert (directory / "input0" / "train.idx").stat().st_mtime_ns == before


@pytest.mark.parametrize("changed", ["files", "vocabulary", "tokens"])
def test_data_of_another_source(
    glue: Path, data_with_tokenizer: Path, write_data: Callable, tmp_path: Path, changed: str
) -> None:
    prepare_task(RTE, glue, None, data_with_tokenizer, tmp_path / "out", positions=17)
    data, positions = data_with_tokenizer, 17
    if changed == "files":
        shutil.copytree(glue, tmp_path / "other")
        glue = tmp_path / "other"
        with open(glue / "RTE" / "dev.tsv", "a") as file:
            file.write("18\tword1\tword2\tentailment\n")
    elif changed == "vocabulary":
        data = Path(write_data(tmp_path / "other", {}, ["word1", "word0"]))
    else:
        positions = 11
    with pytest.raises(UserError, match=rf"out/RTE was prepared from other {changed} than are given now"):
        prepare_task(RTE, glue, None, data, tmp_path / "out", positions=positions)


def test_squad_needs_one_file_of_each_kind(tmp_path: Path, data_with_tokenizer: Path) -> None:
    (tmp_path / "train-v1.1.json").write_text("{}")
    squad = DOWNSTREAM_TASKS["SQuAD"]
    with pytest.raises(UserError, match=rf"--squad {tmp_path}: 0 files dev\*.json, but there must be one"):
        prepare_task(squad, None, tmp_path, data_with_tokenizer, tmp_path / "out", positions=17)


@pytest.mark.parametrize(
    ("positions", "tokens", "windows"), [(512, 128, (384, 128, 64)), (128, 128, (128, 42, 42)), (17, 17, (17, 5, 5))]
)
def test_sizes_of_samples(positions: int, tokens: int, windows: tuple[int, int, int]) -> None:
    assert sample_limits(RTE, positions) == {"max_tokens": tokens}
    expected = dict(zip(("length", "stride", "question_length"), windows, strict=True))
    assert sample_limits(DOWNSTREAM_TASKS["SQuAD"], positions) == expected


def test_chance_is_the_most_frequent_class(glue: Path, data_with_tokenizer: Path, tmp_path: Path) -> None:
    directory = prepare_task(RTE, glue, None, data_with_tokenizer, tmp_path / "out", positions=17)
    labels = [line.rsplit("\t", 1)[1] for line in (glue / "RTE" / "dev.tsv").read_text().splitlines()[1:]]
    most = max(labels.count("entailment"), labels.count("not_entailment"))
    assert chance(RTE, directory) == pytest.approx(100 * most / len(labels))
    assert chance(STS_B, tmp_path) == 0


def test_chance_of_answers_in_a_text_is_that_of_its_first_words(
    squad_data: Path, squad_content: dict[str, Any]
) -> None:
    """Contexts have 14 words, so that 20 and 30 are all of them; each word of an answer is there."""
    paragraphs = squad_content["data"][0]["paragraphs"]
    by_count = []
    for count in (1, 2, 3, 5, 8, 13, 14):
        scores = []
        for paragraph in paragraphs:
            predicted = [word.lower() for word in paragraph["context"].split()[:count]]
            for question in paragraph["qas"]:
                gold = question["answers"][0]["text"].lower().split()
                common = sum(min(predicted.count(word), gold.count(word)) for word in set(gold))
                scores.append(2 * common / (len(predicted) + len(gold)))
        by_count.append(100 * sum(scores) / len(scores))
    assert chance(DOWNSTREAM_TASKS["SQuAD"], squad_data) == pytest.approx(max(by_count))
    assert 0 < by_count[0] < max(by_count)


@pytest.mark.parametrize("paraphrases", [5, 3])
def test_chance_of_f1_is_that_of_the_best_answer(paraphrases: int, tmp_path: Path, data_with_tokenizer: Path) -> None:
    """Of 8 pairs: who calls all of them paraphrases is right in p = n / 8, with an F1 of 2 p / (1 + p).

    That beats calling none so, which has an F1 of 0, even where most are none, as in QQP.
    """
    mrpc = DOWNSTREAM_TASKS["MRPC"]
    write_mrpc(tmp_path / "MRPC", [1] * paraphrases + [0] * (8 - paraphrases))
    directory = prepare_task(mrpc, tmp_path, None, data_with_tokenizer, tmp_path / "out", positions=17)
    right = paraphrases / 8
    f1 = 2 * right / (1 + right)
    assert right + f1 > 1 - right
    assert chance(mrpc, directory) == pytest.approx(100 * (right + f1) / 2)
