"""fairseq's task for sentences, ``sentence_prediction``, from data that is whole; or one line that says what is not."""

import os
from typing import Any

from fairseq.data import Dictionary
from fairseq.tasks.sentence_prediction import SentencePredictionTask

from fairseq_distil.data.binarized_check import combined_splits, require_whole_split
from fairseq_distil.data.dictionary_check import MASK_SYMBOL, load_shared_dictionary
from fairseq_distil.data.labelled.stored_labels import count_numbers, read_classes
from fairseq_distil.errors import UserError

FIRST, SECOND = "input0", "input1"

_fairseqs_load_dataset = SentencePredictionTask.load_dataset


def make_sentence_data_safe() -> None:
    """Replace the two methods by which the task reads files, whatever command asks for them."""
    SentencePredictionTask.load_dictionary = classmethod(load_dictionary)
    SentencePredictionTask.load_dataset = load_dataset


def load_dictionary(cls: type[SentencePredictionTask], filename: str) -> Dictionary:
    """What fairseq's method of this name gives: a ``dict.txt`` with the mask appended.

    Raises:
        UserError: it is missing or not a fairseq dictionary
    """
    dictionary = load_shared_dictionary([os.path.dirname(filename)])
    dictionary.add_symbol(MASK_SYMBOL)
    return dictionary


def load_dataset(task: SentencePredictionTask, split: str, combine: bool = False, **settings: Any) -> Any:
    """What fairseq's method of this name does, once all that it reads is found to be whole.

    Raises:
        UserError: a file is missing or damaged, holds what is not in the dictionary or no label of the task, or has
            other rows than the rest
    """
    folder = task.cfg.data
    inputs = [FIRST, SECOND] if os.path.isdir(os.path.join(folder, SECOND)) else [FIRST]
    rows = {name: _rows_of_input(task, os.path.join(folder, name, split), combine) for name in inputs}
    if (labels := _rows_of_labels(task, os.path.join(folder, "label", split), combine)) is not None:
        rows["label"] = labels
    for name, count in rows.items():
        if count != rows[FIRST]:
            raise UserError(
                f"data {folder}: {split} has {rows[FIRST]:,} rows in {FIRST}, but {count:,} in {name}; "
                "truncated or of another run: prepare the data again"
            )
    return _fairseqs_load_dataset(task, split, combine, **settings)


def _rows_of_input(task: SentencePredictionTask, path: str, combine: bool) -> int:
    return sum(len(require_whole_split(part, len(task.source_dictionary))) for part in _parts(path, combine))


def _rows_of_labels(task: SentencePredictionTask, path: str, combine: bool) -> int | None:
    """None of a split that has no labels, of which there may be predictions."""
    if task.cfg.regression_target:
        path = f"{path}.label"
        return count_numbers(path, task.cfg.num_classes) if os.path.exists(path) else None
    if not any(os.path.exists(f"{path}.{ending}") for ending in ("idx", "bin")):
        return None
    parts = _parts(path, combine)
    return sum(len(read_classes(part, task.label_dictionary, task.cfg.num_classes)) for part in parts)


def _parts(path: str, combine: bool) -> list[str]:
    return list(combined_splits(path)) if combine else [path]
