"""Hand-made lines, cut in every way that fairseq knows."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fairseq.data import Dictionary
from omegaconf import OmegaConf

from fairseq_distil.data.token_blocks import load_token_blocks

BOS, EOS = 0, 2
LINES = [[5, 6, 7], [8], [], [9, 10, 11, 12], [13, 14]]  # two documents; each line ends in EOS


def cut(directory: str, **settings: object) -> list[list[int]]:
    defaults = {"shorten_method": "none", "shorten_data_split_list": "", "seed": 1}
    cfg = OmegaConf.create(defaults | settings)
    dictionary = Dictionary.load(f"{directory}/dict.txt")
    blocks = load_token_blocks(f"{directory}/train", "train", cfg, dictionary)
    assert [len(blocks[index]) for index in range(len(blocks))] == list(blocks.sizes)
    return [blocks[index].tolist() for index in range(len(blocks))]


@pytest.fixture
def directory(write_data: Callable, tmp_path: Path) -> str:
    return write_data(tmp_path / "data", {"train": LINES})


@pytest.mark.parametrize(
    ("break_mode", "expected"),
    [
        ("none", [[BOS, 5, 6, 7, EOS, 8, EOS], [BOS, EOS, 9, 10, 11, 12, EOS], [BOS, 13, 14, EOS]]),
        ("complete", [[BOS, 5, 6, 7, EOS, 8, EOS], [BOS, EOS, 9, 10, 11, 12, EOS], [BOS, 13, 14, EOS]]),
        ("complete_doc", [[BOS, 5, 6, 7, EOS, 8, EOS], [BOS, 9, 10, 11, 12, EOS], [BOS, 13, 14, EOS]]),
        (
            "eos",
            [[BOS, 5, 6, 7, EOS], [BOS, 8, EOS], [BOS, EOS], [BOS, 9, 10, 11, 12, EOS], [BOS, 13, 14, EOS]],
        ),
    ],
)
def test_break_modes(directory: str, break_mode: str, expected: list[list[int]]) -> None:
    assert cut(directory, sample_break_mode=break_mode, tokens_per_sample=7) == expected


def test_where_blocks_and_lines_disagree(directory: str) -> None:
    blocks = cut(directory, sample_break_mode="none", tokens_per_sample=6)
    assert blocks == [[BOS, 5, 6, 7, EOS, 8], [BOS, EOS, EOS, 9, 10, 11], [BOS, 12, EOS, 13, 14, EOS]]
    lines = cut(directory, sample_break_mode="complete", tokens_per_sample=9)
    assert lines == [[BOS, 5, 6, 7, EOS, 8, EOS, EOS], [BOS, 9, 10, 11, 12, EOS, 13, 14, EOS]]
    documents = cut(directory, sample_break_mode="complete_doc", tokens_per_sample=99)
    assert documents == [[BOS, 5, 6, 7, EOS, 8, EOS], [BOS, 9, 10, 11, 12, EOS, 13, 14, EOS]]


@pytest.mark.parametrize("break_mode", ["eos", "complete", "complete_doc"])
def test_shortened_lines_leave_room_for_the_first_symbol(directory: str, break_mode: str) -> None:
    settings = {"sample_break_mode": break_mode, "tokens_per_sample": 4}
    assert max(map(len, cut(directory, **settings))) == 6
    for method in ("truncate", "random_crop"):
        assert max(map(len, cut(directory, shorten_method=method, **settings))) == 4
    assert max(map(len, cut(directory, shorten_method="truncate", shorten_data_split_list="valid", **settings))) == 6


def test_combined_splits(write_data: Callable, tmp_path: Path) -> None:
    directory = write_data(tmp_path / "data", {"train": [[5]], "train1": [[6, 7]]})
    cfg = {"sample_break_mode": "eos", "tokens_per_sample": 9, "shorten_method": "none", "shorten_data_split_list": ""}
    dictionary = Dictionary.load(f"{directory}/dict.txt")
    blocks = load_token_blocks(
        f"{directory}/train", "train", OmegaConf.create(cfg | {"seed": 1}), dictionary, combine=True
    )
    assert [blocks[index].tolist() for index in range(len(blocks))] == [[BOS, 5, EOS], [BOS, 6, 7, EOS]]
