"""Whether an exported directory gives the ids and the outputs of the encoder that it was made from."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from fairseq_distil.checkpoints.exportable import Exportable
from fairseq_distil.checkpoints.exported_heads import ENCODER
from fairseq_distil.checkpoints.key_maps import CLASSIFICATION, MASKED_LM, QUESTION_ANSWERING
from fairseq_distil.data.dictionary_check import MASK_SYMBOL
from fairseq_distil.errors import UserError

TOLERANCE = 1e-5  # of outputs, relative to the largest of them where that is above 1
INT8_COSINE = 0.99
INT8_LOST_CHOICES = 0.1
KEPT_PROBABILITY = 0.8  # of a choice, relative to the best one's, so that it counts as kept
SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    f"The capital of France is {MASK_SYMBOL}.",
    f"In 1998, {MASK_SYMBOL} won 3-2; nobody had expected it!",
    "Ça déjà vu, naïve Ångström: 日本語と中文 😀, don't you think?",
    "",
    f"She studied {MASK_SYMBOL} at the university before she moved to the coast with her two children.",
    "The film is slow, but the actors are wonderful and the last half hour is worth the wait.",
    "Who wrote the book? It was published in 1851 and hardly anybody read it.",
)
"""What every export is compared on before it is reported to have succeeded."""
QUESTION = "Why?"  # short, since models of few positions exist
"""What a head for question answering is asked of each."""


class Batch(NamedTuple):
    """The sentences as the exported tokeniser splits them."""

    inputs: dict[str, Tensor]
    """``input_ids`` and ``attention_mask``, ``(sentences, length)``"""
    tokens: Tensor
    """ids of our dictionary, of the same shape"""

    def first(self) -> "Batch":
        """The first sentence alone, without padding."""
        length = int(self.inputs["attention_mask"][0].sum())
        return Batch({name: tensor[:1, :length] for name, tensor in self.inputs.items()}, self.tokens[:1, :length])


class Int8Difference(NamedTuple):
    """How far outputs of int8 weights are from those of float32."""

    cosine: float
    """of all outputs as one vector, the mean of each distribution's logits subtracted"""
    kept_choices: int
    """first choices that float32 finds nearly as probable as its own"""
    choices: int
    """one a token, a text, or an end of an answer"""

    def __str__(self) -> str:
        chosen = f", {self.kept_choices} of {self.choices} first choices kept" if self.choices else ""
        return f"cosine of the outputs {self.cosine:.4f}{chosen}"

    def is_within_bound(self) -> bool:
        """Whether the cosine is at least 0.99, and at most a tenth of the first choices, or one of few, is lost."""
        tolerated = max(1, INT8_LOST_CHOICES * self.choices)
        return self.cosine >= INT8_COSINE and self.choices - self.kept_choices <= tolerated


def checked_batch(directory: Path, exportable: Exportable) -> Batch:
    """Split the sentences with the tokeniser that transformers loads from a directory.

    Raises:
        UserError: it gives other ids than the data's tokeniser
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    length = exportable.model.max_positions()
    texts = [sentence.replace(MASK_SYMBOL, tokenizer.mask_token) for sentence in SENTENCES]
    questions = [] if exportable.head.kind != QUESTION_ANSWERING else [[QUESTION] * len(texts)]
    arguments = {
        "padding": True,
        "truncation": "only_second" if questions else True,
        "max_length": length,
        "return_tensors": "pt",
    }
    inputs = dict(tokenizer(*questions, texts, **arguments))
    tokens = torch.tensor(exportable.ids)[inputs["input_ids"]]
    for sentence, attended, row in zip(SENTENCES, inputs["attention_mask"].bool(), tokens, strict=True):
        ours = _our_ids(exportable, sentence)
        if len(ours) > length:  # its end is cut off
            ours = [*ours[: length - 1], ours[-1]]
        if row[attended].tolist() != ours:
            raise UserError(f"transformers would split {sentence!r} otherwise than this project; nothing was written")
    return Batch(inputs, tokens)


def _our_ids(exportable: Exportable, sentence: str) -> list[int]:
    parts = [QUESTION, sentence] if exportable.head.kind == QUESTION_ANSWERING else [sentence]
    dictionary = exportable.dictionary
    ids = [dictionary.bos()]
    for part in parts:
        ids += [*map(dictionary.index, exportable.symbols(part)), dictionary.eos()]
    return ids


def require_same_outputs(system: str, theirs: Mapping[str, Tensor], exportable: Exportable, batch: Batch) -> float:
    """Compare outputs with the encoder's own.

    Args:
        system: that computed ``theirs``, for the message
        theirs: outputs by their names
        exportable: what was exported
        batch: what the outputs belong to

    Returns:
        the largest difference

    Raises:
        UserError: it is above the tolerance
    """
    expected, found = (torch.cat(rows) for rows in _paired_rows(theirs, exportable, batch))
    difference = (found - expected).abs().max().item()
    if not difference <= TOLERANCE * max(1.0, expected.abs().max().item()):
        raise UserError(f"the outputs of {system} differ by {difference:.2g} from ours; nothing was written")
    return difference


def int8_difference(theirs: Mapping[str, Tensor], exportable: Exportable, batch: Batch) -> Int8Difference:
    """Compare outputs of int8 weights with those of the encoder in float32; the arguments as above."""
    expected, found = _paired_rows(theirs, exportable, batch)
    both = (torch.cat(_centred(rows)).double() for rows in (expected, found))  # millions of logits are summed
    cosine = torch.cosine_similarity(*both, dim=0).item()
    if exportable.head.kind == ENCODER or len(expected[0]) == 1:  # hidden states and regression choose nothing
        return Int8Difference(cosine, 0, 0)
    tolerated = -math.log(KEPT_PROBABILITY)
    pairs = zip(expected, found, strict=True)
    lost = sum(bool(ours.max() - ours[theirs.argmax()] > tolerated) for ours, theirs in pairs)
    return Int8Difference(cosine, len(expected) - lost, len(expected))


def _centred(rows: list[Tensor]) -> list[Tensor]:
    return [row - row.mean() if len(row) > 1 else row for row in rows]


def _paired_rows(
    theirs: Mapping[str, Tensor], exportable: Exportable, batch: Batch
) -> tuple[list[Tensor], list[Tensor]]:
    ours = exportable.outputs(batch.tokens)
    if exportable.head.kind == MASKED_LM:
        ours = {name: logits[..., torch.tensor(exportable.ids)] for name, logits in ours.items()}
    attended = batch.inputs["attention_mask"].bool()
    expected, found = [], []
    for name, output in ours.items():
        expected += _rows(output, attended, exportable.head.kind)
        found += _rows(theirs[name], attended, exportable.head.kind)
    return expected, found


def _rows(output: Tensor, attended: Tensor, kind: str) -> list[Tensor]:
    """Its distributions: the logits of each text, those that share a softmax over tokens, or of each token."""
    if kind == CLASSIFICATION:
        return list(output)
    if kind == QUESTION_ANSWERING:
        return [logits[is_token] for logits, is_token in zip(output, attended, strict=True)]
    return list(output[attended])
