"""What a task's metric gives to who has read nothing: the same class always, or the first words of each text."""

from pathlib import Path

import numpy as np

from fairseq_distil.data.dictionary_check import load_dictionary
from fairseq_distil.data.labelled.stored_labels import read_classes
from fairseq_distil.data.squad.split import PreparedSplit
from fairseq_distil.evaluation.sentence_metrics import accuracy, f1
from fairseq_distil.evaluation.squad_metrics import score_answers

from .downstream_tasks import DownstreamTask

NUMBERS_OF_WORDS = (1, 2, 3, 5, 8, 13, 20, 30)


def chance(task: DownstreamTask, data: Path) -> float:
    """Percent of the task's metric on the split ``valid``, for the best such answer; correlations start from 0."""
    if task.metric == "f1":
        return _first_words(PreparedSplit(data / "valid"))
    if task.metric not in ("accuracy", "acc_and_f1"):
        return 0.0
    targets = _classes(data / "label")
    constant_answers = [np.full_like(targets, answer) for answer in np.unique(targets)]
    if task.metric == "accuracy":
        return 100 * max(accuracy(answers, targets) for answers in constant_answers)
    return 100 * max((accuracy(answers, targets) + f1(answers, targets)) / 2 for answers in constant_answers)


def _first_words(split: PreparedSplit) -> float:
    questions = [(split.context(number).split(), split.gold_answers(number)) for number in range(split.questions)]
    return max(
        score_answers((" ".join(words[:count]), golds) for words, golds in questions).f1 for count in NUMBERS_OF_WORDS
    )


def _classes(directory: Path) -> np.ndarray:
    """Indices of the classes ``(rows,)``."""
    dictionary = load_dictionary(str(directory / "dict.txt"))
    return read_classes(str(directory / "valid"), dictionary, len(dictionary) - dictionary.nspecial)
