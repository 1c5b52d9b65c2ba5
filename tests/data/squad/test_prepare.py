"""Files of a prepared split, there and back, and what can be wrong with them."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from fairseq.data.indexed_dataset import MMapIndexedDataset

from fairseq_distil.data.question_answering_dataset import load_windows
from fairseq_distil.data.squad.prepare import prepare_squad
from fairseq_distil.data.squad.split import PreparedSplit
from fairseq_distil.data.squad.windows import WindowSizes
from fairseq_distil.errors import UserError

SIZES = WindowSizes(length=16, stride=5, question_length=3)
FILES = [f"{split}.{ending}" for split in ("train", "valid") for ending in ("bin", "idx", "windows.npy", "offsets.npy")]


@pytest.fixture
def copy(squad_data: Path, tmp_path: Path) -> Path:
    return shutil.copytree(squad_data, tmp_path / "copy")


def test_the_directory_is_complete(squad_data: Path) -> None:
    assert {path.name for path in squad_data.iterdir()} == {
        *FILES,
        *("train.questions.json", "valid.questions.json", "dict.txt", "vocab.txt", "fairseq_distil_tokenizer.json"),
    }


def test_every_question_has_its_windows(squad_data: Path, squad_content: dict) -> None:
    split, tokens = PreparedSplit(squad_data / "train"), MMapIndexedDataset(str(squad_data / "train"))
    questions = [q for article in squad_content["data"] for p in article["paragraphs"] for q in p["qas"]]
    assert split.questions == len(questions) == 18
    assert [split.identifier(number) for number in range(18)] == [question["id"] for question in questions]
    assert len(tokens) == len(split.windows) == 36  # 14 words: 10 of them, then 9 from the sixth on
    assert split.windows[:, 0].tolist() == [number for number in range(18) for _ in (0, 1)]
    assert tokens.sizes.tolist() == [16, 15] * 18


def test_the_gold_positions_give_the_gold_text(squad_data: Path) -> None:
    split = PreparedSplit(squad_data / "train")
    held = [(window, *row.tolist()) for window, row in enumerate(split.windows) if row[3] > 0]
    assert {question for _, question, *_ in held} == set(range(18))
    for window, question, _, _, start, end in held:
        assert [split.text(window, start, end)] == split.gold_answers(question)


def test_the_output_does_not_depend_on_the_workers(
    squad_file: Path, data_with_tokenizer: Path, squad_data: Path, tmp_path: Path
) -> None:
    prepare_squad({"train": squad_file, "valid": squad_file}, data_with_tokenizer, tmp_path / "two", SIZES, workers=2)
    for path in squad_data.iterdir():
        assert (tmp_path / "two" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_file_whose_answers_are_all_elsewhere(
    squad_content: dict, squad_file: Path, data_with_tokenizer: Path, tmp_path: Path
) -> None:
    text = json.dumps(squad_content)
    (tmp_path / "train.json").write_text(re.sub(r'"answer_start": \d+', '"answer_start": 1', text))
    files = {"train": tmp_path / "train.json", "valid": squad_file}
    with pytest.raises(UserError, match=r"train\.json: none of its \d+ questions has its answer at answer_start"):
        prepare_squad(files, data_with_tokenizer, tmp_path / "out", SIZES)
    assert not (tmp_path / "out").exists()


def test_more_paragraphs_than_a_part_holds(
    squad_file: Path, data_with_tokenizer: Path, squad_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fairseq_distil.data.squad.prepare.PARAGRAPHS_AT_A_TIME", 1)
    prepare_squad({"train": squad_file}, data_with_tokenizer, tmp_path / "parts", SIZES)
    for name in ("train.windows.npy", "train.offsets.npy", "train.bin", "train.idx"):
        assert (tmp_path / "parts" / name).read_bytes() == (squad_data / name).read_bytes(), name


@pytest.mark.parametrize("name", FILES[4:])
def test_missing_and_damaged_files(copy: Path, name: str) -> None:
    path = copy / name
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match=f"^data {re.escape(str(path))}: .*(damaged|truncated).*prepare the data again"):
        load_windows(str(copy / "valid"), "valid", 45, 1, 0)
    path.unlink()
    with pytest.raises(UserError, match=f"^data {re.escape(str(path))}: no such file"):
        load_windows(str(copy / "valid"), "valid", 45, 1, 0)


def test_tables_of_another_run(copy: Path) -> None:
    np.save(copy / "valid.windows.npy", PreparedSplit(copy / "valid").windows[:-1])
    with pytest.raises(UserError, match="valid.windows.npy: describes 35 windows, but .*valid.idx 36"):
        load_windows(str(copy / "valid"), "valid", 45, 1, 0)
    np.save(copy / "valid.windows.npy", np.zeros((36, 4), np.int32))
    with pytest.raises(UserError, match=r"valid.windows.npy: int32 of shape \(36, 4\), expected 5 columns"):
        load_windows(str(copy / "valid"), "valid", 45, 1, 0)


def test_tables_that_hold_python_objects_are_refused(copy: Path) -> None:
    np.save(copy / "valid.offsets.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(UserError, match="valid.offsets.npy: damaged"):
        load_windows(str(copy / "valid"), "valid", 45, 1, 0)


def test_damaged_texts(copy: Path) -> None:
    (copy / "valid.questions.json").write_text("{")
    with pytest.raises(UserError, match="valid.questions.json: not valid JSON"):
        PreparedSplit(copy / "valid").gold_answers(0)
    (copy / "valid.questions.json").unlink()
    with pytest.raises(UserError, match="valid.questions.json: no such file"):
        PreparedSplit(copy / "valid").gold_answers(0)
