import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fairseq.data import data_utils

from fairseq_distil.data.binarize import LineEncoder, SplitStatistics, binarize, chunks_of_lines
from fairseq_distil.data.symbol_dictionary import build_dictionary
from fairseq_distil.data.tokenizers import SentencePieceTokenizer, Tokenizer, WordPieceTokenizer
from fairseq_distil.data.worker_pool import ordered_map

LINES = ["The quick fox", "jumped", "", "fox zebra", ""]


def run(lines: Iterator[str], tokenizer: Tokenizer, prefix: Path, workers: int = 1) -> SplitStatistics:
    dictionary = build_dictionary(tokenizer)
    statistics = SplitStatistics(dictionary)
    encoder = LineEncoder(tokenizer, dictionary)
    with ordered_map(encoder, workers) as encode_chunks:
        binarize(lines, prefix, encoder.dtype, encode_chunks, statistics, report=lambda encoded: None)
    return statistics


def test_items_are_lines_closed_by_eos_and_documents_by_eos_alone(
    wordpiece: WordPieceTokenizer, tmp_path: Path
) -> None:
    dictionary = build_dictionary(wordpiece)
    statistics = run(iter(LINES), wordpiece, tmp_path / "train")
    dataset = data_utils.load_indexed_dataset(str(tmp_path / "train"), dictionary)
    items = [[dictionary[index] for index in dataset[number]] for number in range(len(dataset))]
    assert items == [
        ["the", "quick", "fox", "</s>"],
        ["jump", "##ed", "</s>"],
        ["</s>"],
        ["fox", "<unk>", "</s>"],
        ["</s>"],
    ]
    assert (statistics.documents, statistics.lines, statistics.tokens) == (2, 3, 12)
    assert statistics.unknown_rate == pytest.approx(1 / 12)
    assert statistics.counts[dictionary.index("fox")] == 2
    assert statistics.counts[dictionary.index("brown")] == 0


def test_a_line_of_which_nothing_is_left_is_no_document_boundary(wordpiece: WordPieceTokenizer) -> None:
    encoder = LineEncoder(wordpiece, build_dictionary(wordpiece))
    assert wordpiece.encode("\x07\u200d") == []
    assert encoder(["fox", "\x07\u200d", "fox", ""]).sizes.tolist() == [2, 2, 1]


def test_ids_are_those_of_the_symbols(sentencepiece: SentencePieceTokenizer, sentencepiece_lines: list[str]) -> None:
    dictionary = build_dictionary(sentencepiece)
    lines = [*sentencepiece_lines, "日 <mask> fox"]
    expected = [[dictionary.index(symbol) for symbol in sentencepiece.encode(line)] + [2] for line in lines]
    encoded = LineEncoder(sentencepiece, dictionary)(lines)
    assert np.split(encoded.ids, np.cumsum(encoded.sizes)[:-1])[7].tolist() == expected[7]
    assert encoded.ids.tolist() == sum(expected, [])
    assert encoded.ids.max() < len(dictionary)


def test_the_mask_never_comes_from_text(sentencepiece: SentencePieceTokenizer) -> None:
    dictionary = build_dictionary(sentencepiece)
    encoded = LineEncoder(sentencepiece, dictionary)(["<mask> <s> </s> <pad> fox"])
    assert np.count_nonzero(encoded.ids == dictionary.eos()) == 1
    assert not np.isin(encoded.ids, [dictionary.bos(), dictionary.pad()]).any()


def test_ids_are_stored_in_the_smallest_type(wordpiece: WordPieceTokenizer) -> None:
    assert LineEncoder(wordpiece, build_dictionary(wordpiece)).dtype is np.uint16
    large = build_dictionary(wordpiece)
    for number in range(65500):
        large.add_symbol(f"filler{number}")
    assert LineEncoder(wordpiece, large).dtype is np.uint32


def test_output_does_not_depend_on_the_number_of_workers(wordpiece: WordPieceTokenizer, tmp_path: Path) -> None:
    words = "the quick brown fox jumped over cafes unaffable".split
    lines = [" ".join(np.random.default_rng(number).permutation(words())) for number in range(9000)]
    lines[::50] = [""] * len(lines[::50])
    statistics = {workers: run(iter(lines), wordpiece, tmp_path / str(workers), workers) for workers in (1, 3)}
    for suffix in (".bin", ".idx"):
        assert (tmp_path / f"1{suffix}").read_bytes() == (tmp_path / f"3{suffix}").read_bytes()
    assert np.array_equal(statistics[1].counts, statistics[3].counts)


def test_chunks_hold_whole_lines_and_a_long_line_alone() -> None:
    lines = ["a" * 3, "", "b" * 4, "c" * 50, "d"]
    assert list(chunks_of_lines(lines, characters=10)) == [["aaa", "", "bbbb"], ["c" * 50], ["d"]]
    assert list(chunks_of_lines([])) == []


def test_memory_does_not_grow_with_the_corpus(wordpiece: WordPieceTokenizer, tmp_path: Path) -> None:
    def peak(lines: int) -> int:
        tracemalloc.reset_peak()
        run(("the quick brown fox" for _ in range(lines)), wordpiece, tmp_path / "train")
        return tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    try:
        peak(1000)
        small, large = peak(20_000), peak(80_000)
    finally:
        tracemalloc.stop()
    # The sizes alone, in a Python list, would add 480 KB.
    assert large < small + 200_000
