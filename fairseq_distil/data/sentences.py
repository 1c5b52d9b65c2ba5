"""Sentences for inference: batched, not masked."""

from collections.abc import Sequence

from fairseq.data import (
    Dictionary,
    FairseqDataset,
    IdDataset,
    ListDataset,
    NestedDictionaryDataset,
    NumelDataset,
    PrependTokenDataset,
    RightPadDataset,
    SortDataset,
)
from torch import Tensor


def unmasked_sentences(
    sentences: Sequence[Tensor], lengths: Sequence[int], dictionary: Dictionary, sort: bool = True
) -> FairseqDataset:
    """Samples that a model can be called with, ``model(**sample["net_input"])``, one a sentence.

    fairseq's own masked-LM task cuts them by a function that fails with numpy 2.

    Args:
        sentences: token ids ``(length,)`` each, ended by ``</s>``; ``<s>`` is put before
        lengths: tokens of each
        dictionary: the model's
        sort: whether the order of the dataset is by length
    """
    sentences_with_start = PrependTokenDataset(ListDataset(sentences, lengths), dictionary.bos())
    samples = NestedDictionaryDataset(
        {
            "id": IdDataset(),
            "net_input": {
                "src_tokens": RightPadDataset(sentences_with_start, pad_idx=dictionary.pad()),
                "src_lengths": NumelDataset(sentences_with_start),
            },
        },
        sizes=sentences_with_start.sizes,
    )
    return SortDataset(samples, sort_order=[sentences_with_start.sizes]) if sort else samples
