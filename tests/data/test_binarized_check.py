from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq.data.indexed_dataset import MMapIndexedDatasetBuilder

from fairseq_distil.data.binarized_check import combined_splits, require_whole_split
from fairseq_distil.errors import UserError

LINES = [[5, 6, 2], [7, 2], [8, 9, 10, 2]]


def write(directory: Path, lines: list[list[int]], dtype: type[np.integer] = np.uint16) -> str:
    builder = MMapIndexedDatasetBuilder(str(directory / "train.bin"), dtype=dtype)
    for line in lines:
        builder.add_item(torch.tensor(line))
    builder.finalize(str(directory / "train.idx"))
    return str(directory / "train")


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64])
def test_whole_data_pass(tmp_path: Path, dtype: type[np.integer]) -> None:
    require_whole_split(write(tmp_path, LINES, dtype), vocabulary_size=11)


def test_id_beyond_the_dictionary(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"train.bin: holds id 10, but dict.txt ends at 9; the dictionary is not the one"
    ):
        require_whole_split(write(tmp_path, LINES), vocabulary_size=10)


def test_negative_id(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train.bin: holds id -3"):
        require_whole_split(write(tmp_path, [[5, -3, 2]], np.int32), vocabulary_size=11)


@pytest.mark.parametrize("suffix", [".bin", ".idx"])
def test_missing_file(tmp_path: Path, suffix: str) -> None:
    prefix = write(tmp_path, LINES)
    Path(prefix + suffix).unlink()
    with pytest.raises(UserError, match=f"data .*train{suffix}: no such file; prepare the data first"):
        require_whole_split(prefix, vocabulary_size=11)


@pytest.mark.parametrize("kept", [0, 1, 10, 17])
def test_truncated_data(tmp_path: Path, kept: int) -> None:
    prefix = write(tmp_path, LINES)
    Path(prefix + ".bin").write_bytes(Path(prefix + ".bin").read_bytes()[:kept])
    with pytest.raises(
        UserError, match=rf"train.bin: {kept} bytes, but its index describes 18; truncated or of another"
    ):
        require_whole_split(prefix, vocabulary_size=11)


def test_every_truncation_of_the_index_is_found(tmp_path: Path) -> None:
    prefix = write(tmp_path, LINES)
    whole = Path(prefix + ".idx").read_bytes()
    for kept in range(len(whole)):
        Path(prefix + ".idx").write_bytes(whole[:kept])
        with pytest.raises(UserError, match="train.idx: damaged or truncated; prepare the data again"):
            require_whole_split(prefix, vocabulary_size=11)


def test_index_that_is_something_else(tmp_path: Path) -> None:
    prefix = write(tmp_path, LINES)
    Path(prefix + ".idx").write_text("no index at all, but long enough to have the bytes of its header\n")
    with pytest.raises(UserError, match="train.idx: damaged or truncated"):
        require_whole_split(prefix, vocabulary_size=11)


def test_index_of_another_run(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    prefix, other = write(tmp_path, LINES), write(tmp_path / "other", LINES[:2])
    Path(prefix + ".idx").write_bytes(Path(other + ".idx").read_bytes())
    with pytest.raises(
        UserError, match=r"train.bin: 18 bytes, but its index describes 10; truncated or of another run"
    ):
        require_whole_split(prefix, vocabulary_size=11)


def test_empty_data(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="train.bin: empty; prepare it from a text that has lines"):
        require_whole_split(write(tmp_path, []), vocabulary_size=11)


def test_ids_are_read_a_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairseq_distil.data.binarized_check.IDS_AT_A_TIME", 2)
    prefix = write(tmp_path, LINES)
    require_whole_split(prefix, vocabulary_size=11)
    with pytest.raises(UserError, match="holds id 10"):
        require_whole_split(prefix, vocabulary_size=10)


@pytest.mark.parametrize("most_ids", [2, 4, 5])
def test_of_many_ids_evenly_spaced_parts_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_ids: int
) -> None:
    """Of 9, in parts of one."""
    monkeypatch.setattr("fairseq_distil.data.binarized_check.IDS_AT_A_TIME", 1)
    found = []
    for place in range(9):
        ids = [5] * 9
        ids[place] = 11
        prefix = write(tmp_path, [ids])
        try:
            require_whole_split(prefix, 11, most_ids)
        except UserError:
            found.append(place)
    assert found == {2: [0, 5], 4: [0, 3, 6], 5: [0, 2, 4, 6, 8]}[most_ids]


SIZES, POINTERS = 26, 26 + 3 * 4
MISPLACED = "train.idx: an item is empty, or not where the one before it ends; prepare the data again"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (POINTERS + 8, np.int64(10**12)),
        (POINTERS + 8, np.int64(-6)),
        (POINTERS + 8, np.int64(0)),
        (POINTERS, np.int64(2)),
        (SIZES, np.array([10, -1, 0], np.int32)),
        (SIZES, np.array([9, 0, 0], np.int32)),
    ],
)
def test_items_that_are_elsewhere(tmp_path: Path, place: int, value: np.ndarray) -> None:
    """The sum of the sizes is right: fairseq would read other items, or fail in the middle of training."""
    prefix = write(tmp_path, LINES)
    index = bytearray(Path(prefix + ".idx").read_bytes())
    index[place : place + len(value.tobytes())] = value.tobytes()
    Path(prefix + ".idx").write_bytes(index)
    with pytest.raises(UserError, match=MISPLACED):
        require_whole_split(prefix, vocabulary_size=11)


def test_the_index_is_read_a_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairseq_distil.data.binarized_check.ITEMS_AT_A_TIME", 2)
    prefix = write(tmp_path, LINES)
    require_whole_split(prefix, vocabulary_size=11)
    index = bytearray(Path(prefix + ".idx").read_bytes())
    index[-8] += 2
    Path(prefix + ".idx").write_bytes(index)
    with pytest.raises(UserError, match=MISPLACED):
        require_whole_split(prefix, vocabulary_size=11)


def test_ids_that_are_no_integers(tmp_path: Path) -> None:
    prefix = write(tmp_path, [[5, 6, 7, 2]], np.int32)
    index = bytearray(Path(prefix + ".idx").read_bytes())
    index[17] = 6  # float32
    Path(prefix + ".idx").write_bytes(index)
    with pytest.raises(UserError, match="train.idx: damaged or truncated"):
        require_whole_split(prefix, vocabulary_size=11)


def test_splits_that_fairseq_combines(tmp_path: Path) -> None:
    for name in ("train", "train1", "train2", "train4"):
        (tmp_path / f"{name}.idx").touch()
    expected = [str(tmp_path / name) for name in ("train", "train1", "train2")]
    assert list(combined_splits(str(tmp_path / "train"))) == expected
