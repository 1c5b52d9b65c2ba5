"""A model meets the same ids in fine-tuning as its exported tokeniser gives, texts that are too long included."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from fairseq.data import data_utils

from fairseq_distil.checkpoints.export_tokenizer import id_of_piece, to_transformers_tokenizer
from fairseq_distil.data.labelled.truncation import fitting_lengths

from .conftest import save_pretraining_data

FIRST = ["the quick brown fox", "the", "unaffable cafe , jumps over the brown fox over the quick fox", "fox [SEP] fox"]
SECOND = ["over", "the quick brown fox jumps over the fox", "jumped over the brown fox . the fox !", "日本 é"]


@pytest.mark.parametrize("kind", ["wordpiece", "gpt2", "sentencepiece"])
@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("max_tokens", [128, 10, 9])
def test_ids(
    prepare: Callable,
    load_task: Callable,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    kind: str,
    columns: int,
    max_tokens: int,
) -> None:
    tokenizer = request.getfixturevalue(kind)
    dictionary = save_pretraining_data(tokenizer, tmp_path / "data")
    texts = list(zip(*[FIRST, SECOND][:columns], strict=True))
    header = "\t".join(f"text{column}" for column in range(columns))
    rows = ["\t".join((*row, str(number % 2))) for number, row in enumerate(texts)]
    (tmp_path / "train.tsv").write_text("\n".join([f"{header}\tlabel", *rows, ""]), encoding="utf-8")
    files = ["--train", tmp_path / "train.tsv", "--valid", tmp_path / "train.tsv", "--max-tokens", str(max_tokens)]
    assert prepare(*files, data=tmp_path / "data").status == 0
    dataset = load_task(tmp_path / "out", num_classes=2).load_dataset("valid")
    ours = [dataset[row]["net_input.src_tokens"].tolist() for row in range(len(texts))]

    pieces = id_of_piece(tokenizer, dictionary)
    theirs = to_transformers_tokenizer(tokenizer, pieces, max_positions=512)
    without_specials = [[text.replace("[SEP]", "") for text in row] for row in texts]
    for row, plain, ids in zip(texts, without_specials, ours, strict=True):
        if plain == list(row):  # theirs finds a special piece that a text spells out, ours never does
            encoded = theirs(*row, truncation="longest_first", max_length=max_tokens)["input_ids"]
            assert ids == [list(pieces.values())[index] for index in encoded]
        assert len(ids) <= max_tokens and ids.count(dictionary.eos()) == columns
        assert ids[0] == dictionary.bos() and ids[-1] == dictionary.eos()


def test_of_a_pair_the_longer_text_is_cut() -> None:
    assert fitting_lengths([3, 9], 10) == [3, 7]
    assert fitting_lengths([9, 3], 10) == [7, 3]
    assert fitting_lengths([9, 8], 10) == [5, 5]
    assert fitting_lengths([9, 8], 11) == [6, 5]
    assert fitting_lengths([8, 9], 11) == [5, 6]
    assert fitting_lengths([12], 10) == [10]


def test_lengths_that_fit_use_all_the_room() -> None:
    for first, second, room in itertools.product(range(1, 9), range(1, 9), range(2, 12)):
        fitting = fitting_lengths([first, second], room)
        assert sum(fitting) == min(first + second, room)
        assert fitting[0] <= first and fitting[1] <= second


def test_ids_of_all_splits_are_in_the_stored_order(prepare: Callable, tmp_path: Path) -> None:
    """More rows than are encoded at a time."""
    rows = [("the " * (1 + number % 7)).strip() + f"\t{number % 2}" for number in range(2503)]
    (tmp_path / "train.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")
    assert prepare("--train", tmp_path / "train.tsv", "--valid", tmp_path / "train.tsv").status == 0
    items = data_utils.load_indexed_dataset(str(tmp_path / "out" / "input0" / "train"))
    labels = data_utils.load_indexed_dataset(str(tmp_path / "out" / "label" / "train"))
    assert [len(item) - 1 for item in items] == [1 + number % 7 for number in range(2503)]
    assert [item.tolist() for item in labels] == [[4 + number % 2, 2] for number in range(2503)]
