"""Whether binarised data is whole, before anything is computed from it."""

import itertools
import os
import struct
from collections.abc import Iterator

import numpy as np
from fairseq.data.indexed_dataset import MMapIndexedDataset, _code_to_dtype, data_file_path, index_file_path

from fairseq_distil.data.indexed_writer import ITEMS_AT_A_TIME, POINTER_DTYPE, SIZE_DTYPE
from fairseq_distil.errors import UserError

HEADER = struct.Struct("<9sQBQ")  # magic, version, code of the ids' type, items
BYTES_OF_ITEM = SIZE_DTYPE.itemsize + POINTER_DTYPE.itemsize  # its length and its place in the data
IDS_AT_A_TIME = 2**24
MOST_IDS_AT_START = 2**28
"""Half a gigabyte, which takes seconds; a corpus for pre-training has 2**32."""


def combined_splits(path: str) -> Iterator[str]:
    """``path``, and what fairseq appends to it: ``path1``, ``path2``, ... as far as there are any."""
    yield path
    for number in itertools.count(1):
        if not os.path.exists(index_file_path(f"{path}{number}")):
            return
        yield f"{path}{number}"


def require_whole_split(path: str, vocabulary_size: int, most_ids: int | None = None) -> np.ndarray:
    """Check that ``path.idx`` describes ``path.bin`` and that every id is in the vocabulary.

    Args:
        path: binarised split without its ending, such as ``data-bin/x/train``
        vocabulary_size: symbols in the dictionary, without the mask
        most_ids: of more, about so many are looked at, in parts that are evenly apart; None: all are. Who reads the
            others calls :func:`require_ids_in_vocabulary`

    Returns:
        Length of each item, ``(items,)``.

    Raises:
        UserError: a file is missing, truncated or unreadable, or holds an id beyond the dictionary
    """
    for file_path in (index_file_path(path), data_file_path(path)):
        if not os.path.isfile(file_path):
            raise UserError(f"data {file_path}: no such file; prepare the data first, see scripts/prepare_data.py")
    dtype, sizes = _read_index(index_file_path(path))
    expected, found = int(sizes.sum(dtype=np.int64)) * dtype.itemsize, os.path.getsize(data_file_path(path))
    if expected != found:
        raise UserError(
            f"data {data_file_path(path)}: {found:,} bytes, but its index describes {expected:,}; "
            "truncated or of another run: prepare the data again"
        )
    if len(sizes) == 0 or expected == 0:
        raise UserError(f"data {data_file_path(path)}: empty; prepare it from a text that has lines")
    ids = _mapped(path, dtype)
    starts = range(0, ids.size, IDS_AT_A_TIME)
    for start in starts if most_ids is None else starts[:: -(-ids.size // most_ids)]:
        require_ids_in_vocabulary(path, vocabulary_size, ids[start : start + IDS_AT_A_TIME])
    return sizes


def stored_ids(path: str) -> np.ndarray:
    """All ids of a split that :func:`require_whole_split` has let pass, ``(ids,)``."""
    return _mapped(path, _read_index(index_file_path(path))[0])


def _mapped(path: str, dtype: np.dtype) -> np.ndarray:
    return np.memmap(data_file_path(path), mode="r", dtype=dtype)


def require_ids_in_vocabulary(path: str, vocabulary_size: int, ids: np.ndarray) -> None:
    """Check some ids of the split at ``path``.

    Raises:
        UserError: one is beyond the dictionary
    """
    lowest, highest = int(ids.min()), int(ids.max())
    if lowest < 0 or highest >= vocabulary_size:
        wrong = lowest if lowest < 0 else highest
        raise UserError(
            f"data {data_file_path(path)}: holds id {wrong}, but dict.txt ends at {vocabulary_size - 1}; "
            "the dictionary is not the one that it was prepared with"
        )


def _read_index(path: str) -> tuple[np.dtype, np.ndarray]:
    """Type of the ids, and length of each item, which follow one another.

    fairseq's own reader believes whatever the index says, and leaves an error at exit behind when it fails.
    """
    with open(path, "rb") as file:
        header = file.read(HEADER.size)
    if len(header) == HEADER.size:
        magic, version, dtype_code, count = HEADER.unpack(header)
        dtype = np.dtype(_code_to_dtype.get(dtype_code, float))
        is_index = magic == MMapIndexedDataset.Index._HDR_MAGIC and version == 1 and np.issubdtype(dtype, np.integer)
        if is_index and os.path.getsize(path) == HEADER.size + count * BYTES_OF_ITEM:
            sizes = np.fromfile(path, SIZE_DTYPE, count, offset=HEADER.size)
            _require_in_order(path, dtype, sizes)
            return dtype, sizes
    raise UserError(f"data {path}: damaged or truncated; prepare the data again")


def _require_in_order(path: str, dtype: np.dtype, sizes: np.ndarray) -> None:
    end = 0
    with open(path, "rb") as file:
        file.seek(HEADER.size + sizes.nbytes)
        for first in range(0, len(sizes), ITEMS_AT_A_TIME):
            part = sizes[first : first + ITEMS_AT_A_TIME]
            pointers = np.fromfile(file, POINTER_DTYPE, len(part))
            ends = end + np.cumsum(part, dtype=np.int64) * dtype.itemsize
            if part.min() < 1 or pointers[0] != end or not np.array_equal(pointers[1:], ends[:-1]):
                raise UserError(
                    f"data {path}: an item is empty, or not where the one before it ends; prepare the data again"
                )
            end = int(ends[-1])
