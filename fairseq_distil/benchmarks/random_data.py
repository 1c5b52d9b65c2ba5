"""Binarised data of random ids, for measurements that do not depend on the text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import best_fitting_int_dtype

from fairseq_distil.data.indexed_writer import MMapIndexedWriter

from .training_case import SPECIAL_SYMBOLS


def write_random_data(
    directory: Path, vocabulary_size: int, lengths: Sequence[int], sequences: int, seed: int = 0, topics: int = 1
) -> None:
    """Write a ``train`` split that the task cuts into full samples, and its ``dict.txt``.

    Args:
        directory: to write to; it exists
        vocabulary_size: symbols, with the specials and the mask that the task appends
        lengths: tokens of the samples, ``<s>`` included, in turn
        sequences: samples
        seed: of the ids
        topics: parts of the vocabulary, of one of which all ids of a sample are; of one part nothing can be learned
    """
    dictionary = Dictionary()
    for index in range(vocabulary_size - SPECIAL_SYMBOLS):
        dictionary.add_symbol(f"symbol{index}")
    dictionary.save(str(directory / "dict.txt"))
    tokens = np.resize(lengths, sequences) - 1
    random, words = np.random.default_rng(seed), len(dictionary) - dictionary.nspecial
    ids = dictionary.nspecial + topics * random.integers(words // topics, size=tokens.sum())
    ids += np.repeat(random.integers(topics, size=sequences), tokens)
    ids[tokens.cumsum() - 1] = dictionary.eos()
    with MMapIndexedWriter(directory / "train", best_fitting_int_dtype(len(dictionary))) as writer:
        writer.append(ids, tokens)
