"""Whether a fine-tuned teacher answers the question that its student is asked."""

import logging

from fairseq.tasks import FairseqTask

from fairseq_distil.errors import UserError

from .data_memory import class_names
from .distil_encoder import DistilEncoderModel
from .encoder_loading import StoredEncoder

logger = logging.getLogger(__name__)


def require_teacher_head(teacher: DistilEncoderModel, stored: StoredEncoder, task: FairseqTask) -> None:
    """Check the teacher's head against fairseq's task for sentences; other tasks need none.

    Raises:
        UserError: there is no such head, it has another number of outputs, or its classes are in another order
    """
    name = getattr(task.cfg, "classification_head_name", None)
    if name is None:
        return
    if name not in teacher.classification_heads:
        found = ", ".join(teacher.classification_heads) or "none"
        raise UserError(
            f"has no classification head {name!r}, but {found}; give a teacher that was fine-tuned on this task, or "
            "the head's name: --classification-head-name (criterion.classification_head_name)"
        )
    outputs, expected = teacher.classification_heads[name].output.out_features, task.cfg.num_classes
    if outputs != expected:
        raise UserError(f"it was fine-tuned for {_kind(outputs)}, but the task is {_kind(expected)}")
    theirs = ((stored.checkpoint.get("task_state") or {}).get("classification") or {}).get("labels") or []
    ours = [] if task.cfg.regression_target else class_names(task)
    if theirs != ours and sorted(theirs) == sorted(ours):
        raise UserError(
            f"its classes are {', '.join(theirs)}, but those of {task.cfg.data} are {', '.join(ours)}; prepare the "
            "data of both alike"
        )
    # Names that are others altogether, such as LABEL_0 of transformers, say nothing of the order.
    if theirs and ours and theirs != ours:
        logger.warning(
            "the teacher's classes are called %s, those of %s %s; they are taken to be the same in this order",
            ", ".join(theirs),
            task.cfg.data,
            ", ".join(ours),
        )


def _kind(outputs: int) -> str:
    return "regression" if outputs == 1 else f"{outputs} classes"
