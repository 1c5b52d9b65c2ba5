"""How many rows and words of the vocabulary are computed at a time."""

from typing import NamedTuple

import torch

CHUNK_BYTES = {"cpu": 64 * 2**20, "cuda": 256 * 2**20}
TILE_BYTES = {"cpu": 2**20, "cuda": 64 * 2**20}
WORD_MULTIPLE = {"cpu": 1, "cuda": 64}
"""A GPU's fast products want matrices whose rows begin at multiples of 16 bytes."""


class BlockSizes(NamedTuple):
    """Of logits."""

    words: int
    """of the vocabulary"""
    padded_words: int
    """columns of a matrix product; those beyond the vocabulary are 0, as are their gradients"""
    chunk_rows: int
    """of one matrix product"""
    tile_rows: int
    """of one softmax"""

    def tiles(self, rows: int) -> list[slice]:
        """Of so many rows; of none, one of none."""
        return [slice(start, start + self.tile_rows) for start in range(0, max(1, rows), self.tile_rows)]


def block_sizes(
    vocabulary_size: int,
    dtype: torch.dtype,
    device_type: str,
    chunk_bytes: int | None = None,
    tile_bytes: int | None = None,
    word_multiple: int | None = None,
) -> BlockSizes:
    """What suits the device, but for what is given.

    Args:
        vocabulary_size: words
        dtype: of the products
        device_type: ``cpu``, or any accelerator, which is taken for a GPU
        chunk_bytes: memory of the logits of one matrix product, in ``dtype``
        tile_bytes: memory of the logits of one softmax, in float32
        word_multiple: what the columns of a product are a multiple of
    """
    device_type = "cpu" if device_type == "cpu" else "cuda"
    chunk_bytes = CHUNK_BYTES[device_type] if chunk_bytes is None else chunk_bytes
    tile_bytes = TILE_BYTES[device_type] if tile_bytes is None else tile_bytes
    word_multiple = WORD_MULTIPLE[device_type] if word_multiple is None else word_multiple
    padded_words = -(-vocabulary_size // word_multiple) * word_multiple
    chunk_rows = max(1, chunk_bytes // (dtype.itemsize * padded_words))
    return BlockSizes(
        words=vocabulary_size,
        padded_words=padded_words,
        chunk_rows=2 ** (chunk_rows.bit_length() - 1),  # the products are faster: by a fifth with 512 instead of 549
        tile_rows=max(1, tile_bytes // (torch.float32.itemsize * vocabulary_size)),
    )
