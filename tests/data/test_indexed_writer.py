from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq.data import data_utils
from fairseq.data.indexed_dataset import MMapIndexedDatasetBuilder

from fairseq_distil.data import indexed_writer
from fairseq_distil.data.indexed_writer import MMapIndexedWriter

ITEMS = [[5, 6, 2], [2], [7, 2], [65499] * 11 + [2], [2]]


def write_in_two_parts(prefix: Path, dtype: type[np.integer]) -> None:
    with MMapIndexedWriter(prefix, dtype) as writer:
        for items in (ITEMS[:3], ITEMS[3:]):
            writer.append(np.concatenate(items), np.array([len(item) for item in items]))


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32])
@pytest.mark.parametrize("items_at_a_time", [2, 5, 1000])
def test_files_are_those_of_fairseqs_own_builder(
    dtype: type[np.integer], items_at_a_time: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexed_writer, "ITEMS_AT_A_TIME", items_at_a_time)
    write_in_two_parts(tmp_path / "ours", dtype)
    builder = MMapIndexedDatasetBuilder(str(tmp_path / "theirs.bin"), dtype=dtype)
    for item in ITEMS:
        builder.add_item(torch.tensor(item))
    builder.finalize(str(tmp_path / "theirs.idx"))
    for suffix in (".bin", ".idx"):
        assert (tmp_path / f"ours{suffix}").read_bytes() == (tmp_path / f"theirs{suffix}").read_bytes()


def test_fairseq_reads_the_items_back(tmp_path: Path) -> None:
    write_in_two_parts(tmp_path / "train", np.uint16)
    dataset = data_utils.load_indexed_dataset(str(tmp_path / "train"))
    assert [dataset[index].tolist() for index in range(len(dataset))] == ITEMS
    assert dataset.sizes.tolist() == [3, 1, 2, 12, 1]


def test_an_interrupted_index_describes_no_items(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), MMapIndexedWriter(tmp_path / "train", np.uint16) as writer:
        writer.append(np.array([5, 2]), np.array([2]))
        raise KeyboardInterrupt
    assert len(data_utils.load_indexed_dataset(str(tmp_path / "train"))) == 0
