"""What a task's metric gives to who always answers with the same class, the best one."""

from pathlib import Path

import numpy as np

from fairseq_distil.data.dictionary_check import load_dictionary
from fairseq_distil.data.labelled.stored_labels import read_classes
from fairseq_distil.evaluation.sentence_metrics import accuracy, f1

from .downstream_tasks import DownstreamTask


def chance(task: DownstreamTask, data: Path) -> float:
    """Percent of the task's metric on the split ``valid``; correlations and answers in a text start from 0."""
    if task.metric not in ("accuracy", "acc_and_f1"):
        return 0.0
    targets = _classes(data / "label")
    constant_answers = [np.full_like(targets, answer) for answer in np.unique(targets)]
    if task.metric == "accuracy":
        return 100 * max(accuracy(answers, targets) for answers in constant_answers)
    return 100 * max((accuracy(answers, targets) + f1(answers, targets)) / 2 for answers in constant_answers)


def _classes(directory: Path) -> np.ndarray:
    """Indices of the classes ``(rows,)``."""
    dictionary = load_dictionary(str(directory / "dict.txt"))
    return read_classes(str(directory / "valid"), dictionary, len(dictionary) - dictionary.nspecial)
