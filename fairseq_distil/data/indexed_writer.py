"""Writing fairseq's memory-mapped token files without holding sizes or offsets in memory."""

import struct
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import numpy as np
from fairseq.data.indexed_dataset import MMapIndexedDataset, _dtype_header_code

ITEMS_AT_A_TIME = 1_000_000
SIZE_DTYPE = np.dtype("<i4")
POINTER_DTYPE = np.dtype("<i8")


class MMapIndexedWriter(AbstractContextManager):
    """Writes ``<prefix>.bin`` and ``<prefix>.idx`` as fairseq's ``MMapIndexedDatasetBuilder`` does.

    fairseq's builder keeps a Python list of all sizes, and one of all offsets at the end. This one writes
    the sizes to the index as they come, and derives the offsets from them, a part at a time, on a clean exit.

    Args:
        prefix: path of the two files without their suffixes
        dtype: of the ids
    """

    def __init__(self, prefix: Path, dtype: type[np.integer]) -> None:
        self._dtype = np.dtype(dtype)
        self._data = Path(f"{prefix}.bin").open("wb")  # noqa: SIM115
        self._index = Path(f"{prefix}.idx").open("w+b")  # noqa: SIM115
        header = struct.pack("<QB", 1, _dtype_header_code(dtype))
        self._index.write(MMapIndexedDataset.Index._HDR_MAGIC + header)
        self._count_position = self._index.tell()
        self._items = 0
        self._write_count()

    def append(self, ids: np.ndarray, sizes: np.ndarray) -> None:
        """Add items: their ids one after the other, and the number of ids in each."""
        self._data.write(ids.astype(self._dtype, copy=False).tobytes())
        self._index.write(sizes.astype(SIZE_DTYPE, copy=False).tobytes())
        self._items += len(sizes)

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._data, self._index:
            if error_type is None:
                self._write_pointers()
                self._index.seek(self._count_position)
                self._write_count()

    def _write_count(self) -> None:
        self._index.write(struct.pack("<Q", self._items))

    def _write_pointers(self) -> None:
        sizes_position = self._count_position + 8
        offset = 0
        for first in range(0, self._items, ITEMS_AT_A_TIME):
            self._index.seek(sizes_position + first * SIZE_DTYPE.itemsize)
            count = min(ITEMS_AT_A_TIME, self._items - first)
            sizes = np.frombuffer(self._index.read(count * SIZE_DTYPE.itemsize), SIZE_DTYPE)
            ends = offset + np.cumsum(sizes, dtype=POINTER_DTYPE) * self._dtype.itemsize
            pointers = np.concatenate(([offset], ends[:-1])).astype(POINTER_DTYPE)
            self._index.seek(0, 2)
            self._index.write(pointers.tobytes())
            offset = ends[-1]
