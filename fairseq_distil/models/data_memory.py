"""What a checkpoint must remember of the data that it was trained on, in whatever task."""

from typing import Any, Dict, List

from fairseq.tasks import FairseqTask

from fairseq_distil.data.dictionary_check import MASK_SYMBOL
from fairseq_distil.data.symbol_dictionary import FILLER_PREFIX


def remember_data(task: FairseqTask) -> None:
    """Put the symbols of the dictionary, and what the labels are, into the task's state, which checkpoints hold."""
    task.state.merge_state_dict({"dictionary_symbols": list(task.source_dictionary.symbols)})
    if classification := classification_of(task):
        task.state.merge_state_dict({"classification": classification})


def classification_of(task: FairseqTask) -> Dict[str, Any]:
    """``problem_type`` and ``labels`` as ``transformers`` knows them; nothing for tasks without labels."""
    if not hasattr(task, "label_dictionary"):
        return {}
    if task.cfg.regression_target:
        return {"problem_type": "regression"}
    return {"problem_type": "single_label_classification", "labels": class_names(task)}


def class_names(task: FairseqTask) -> List[str]:
    """Names of the classes of fairseq's task for sentences, in the order of the outputs."""
    symbols = task.label_dictionary.symbols[task.label_dictionary.nspecial :]
    return [symbol for symbol in symbols if symbol != MASK_SYMBOL and not symbol.startswith(FILLER_PREFIX)]
