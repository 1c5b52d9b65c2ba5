"""Labels of prepared data, looked at before anything is computed from them."""

import numpy as np
from fairseq.data import Dictionary

from fairseq_distil.data.binarized_check import require_whole_split, stored_ids
from fairseq_distil.data.labelled.labels import NumberLabels
from fairseq_distil.errors import UserError, naming

ADVICE = "prepare the data again"


def read_classes(path: str, dictionary: Dictionary, classes: int) -> np.ndarray:
    """Indices of the classes, ``(rows,)``.

    Args:
        path: binarised labels without their ending
        dictionary: of the labels
        classes: how many there are

    Raises:
        UserError: the files are damaged, a row has not one label, or a label is none of the classes
    """
    sizes, ids = require_whole_split(path, len(dictionary)), stored_ids(path)
    is_label = ids != dictionary.eos()
    labels_of_row = np.add.reduceat(is_label, np.cumsum(sizes, dtype=np.int64) - sizes, dtype=np.int64)
    if (labels_of_row != 1).any():
        row = int((labels_of_row != 1).argmax())
        raise UserError(f"data {path}.bin: row {row} has {labels_of_row[row]} labels, expected 1; {ADVICE}")
    indices = ids[is_label].astype(np.int64) - dictionary.nspecial
    is_class = (indices >= 0) & (indices < classes)
    if not is_class.all():
        row = int(is_class.argmin())
        raise UserError(
            f"data {path}.bin: the label of row {row} is {dictionary[indices[row] + dictionary.nspecial]!r}, which is "
            f"not one of the {classes} classes (task.num_classes); {ADVICE}"
        )
    return indices


def count_numbers(path: str, outputs: int) -> int:
    """Rows of a text file of numbers, each checked as fairseq reads it.

    Args:
        path: the file
        outputs: numbers in a row

    Raises:
        UserError: the file is no text, or a row has other things than so many finite numbers
    """
    try:
        with open(path) as file:
            lines = file.readlines()
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"data {path}: not a text of numbers ({error}); {ADVICE}") from error
    for row, line in enumerate(lines):
        values = line.split()
        if len(values) != outputs:
            raise UserError(
                f"data {path}: row {row} has {len(values)} numbers, expected {outputs} (task.num_classes); {ADVICE}"
            )
        with naming(f"data {path}: row {row}"):
            for value in values:
                NumberLabels().parse(value)
    return len(lines)
