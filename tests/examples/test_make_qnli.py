"""Training data like QNLI's, made of SQuAD."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from fairseq_distil.data.labelled.glue import GLUE_TASKS
from fairseq_distil.data.squad.official import Answer, Paragraph, Question

MAKE_QNLI = Path(__file__).parents[2] / "examples" / "glue" / "make_qnli.py"
make_qnli = runpy.run_path(str(MAKE_QNLI))

CONTEXT = "Rome is old. Paris is the capital of France! It has a tower.  The tower is of iron."
QUESTION = Question("1", "What is the  tower made of?", (Answer("iron", CONTEXT.index("iron")),))


def test_the_sentence_with_the_answer_and_the_other_that_is_most_like_the_question() -> None:
    choose = make_qnli["choose_sentence"]
    assert choose(CONTEXT, QUESTION, True) == "The tower is of iron."
    assert choose(CONTEXT, QUESTION, False).strip() == "Paris is the capital of France!"  # is, the, of


def test_a_paragraph_of_one_sentence_has_no_other() -> None:
    assert make_qnli["choose_sentence"]("All of iron.", Question("1", "Of what?", (Answer("iron", 7),)), False) is None


def test_labels_take_turns_and_texts_have_no_tabs_or_line_ends() -> None:
    questions = tuple(QUESTION._replace(id=str(number), text="What\tis\n the tower?") for number in range(5))
    rows = list(make_qnli["rows"]([Paragraph(CONTEXT.replace("  ", "\n"), questions)], seed=1))
    assert [label for *_, label in rows] == ["entailment", "not_entailment"] * 2 + ["entailment"]
    assert {question for question, *_ in rows} == {"What is the tower?"}
    assert {sentence for _, sentence, _ in rows} == {"The tower is of iron.", "Paris is the capital of France!"}


def test_the_file_is_read_as_qnlis(squad_file: Path, tmp_path: Path) -> None:
    directory = tmp_path / "QNLI"
    directory.mkdir()
    command = [sys.executable, MAKE_QNLI, squad_file, "--rows", "1", "--output", directory / "train.tsv"]
    subprocess.run(command, check=True, capture_output=True)
    (directory / "dev.tsv").write_bytes((directory / "train.tsv").read_bytes())
    qnli = GLUE_TASKS["QNLI"]
    rows = list(qnli.tables(directory)["train"].rows(qnli.labels))
    assert len(rows) == 1


def test_a_directory_that_is_missing(squad_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "missing" / "train.tsv"
    ended = subprocess.run([sys.executable, MAKE_QNLI, squad_file, "--output", output], capture_output=True, text=True)
    assert ended.returncode != 0
    assert ended.stderr.strip() == f"error: --output {output}: no directory {output.parent}; make it first"


@pytest.mark.parametrize("rows", ["0", "-1"])
def test_no_rows(squad_file: Path, tmp_path: Path, rows: str) -> None:
    command = [sys.executable, MAKE_QNLI, squad_file, "--rows", rows, "--output", tmp_path / "train.tsv"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.stderr.strip() == f"error: --rows is {rows}, but must be at least 1"
