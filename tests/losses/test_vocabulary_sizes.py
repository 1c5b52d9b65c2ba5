import pytest
import torch

from fairseq_distil.losses.vocabulary_sizes import BlockSizes, block_sizes


def test_a_cpu_takes_small_tiles_and_no_padding() -> None:
    # 2^26 bytes / (2 bytes x 30,522) = 1,099 rows, of which 1,024 are the largest power of 2; 2^20 / (4 x 30,522) = 8.6
    expected = BlockSizes(words=30522, padded_words=30522, chunk_rows=1024, tile_rows=8)
    assert block_sizes(30522, torch.bfloat16, "cpu") == expected


def test_a_gpu_takes_large_tiles_and_padding() -> None:
    # 64 x 477 = 30,528; 2^28 / (2 x 30,528) = 4,396 rows; 2^26 / (4 x 30,522) = 549
    expected = BlockSizes(words=30522, padded_words=30528, chunk_rows=4096, tile_rows=549)
    assert block_sizes(30522, torch.bfloat16, "cuda") == expected


@pytest.mark.parametrize("words", [64, 128])
def test_a_multiple_is_not_padded(words: int) -> None:
    assert block_sizes(words, torch.float16, "cuda").padded_words == words


def test_sizes_that_are_given() -> None:
    found = block_sizes(47, torch.float32, "cuda", chunk_bytes=1, tile_bytes=400, word_multiple=5)
    assert found == BlockSizes(words=47, padded_words=50, chunk_rows=1, tile_rows=2)


def test_other_devices_are_taken_for_gpus() -> None:
    assert block_sizes(47, torch.float32, "mps") == block_sizes(47, torch.float32, "cuda")
