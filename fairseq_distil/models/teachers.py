"""The teachers of a student, read from their checkpoints, and the part of each."""

import os
from typing import TYPE_CHECKING, List, Tuple

from fairseq import utils
from fairseq.tasks import FairseqTask
from fairseq.tasks.masked_lm import MaskedLMTask

from fairseq_distil.errors import UserError, naming

from .distil_encoder import DistilEncoderModel
from .encoder_loading import read_encoder
from .teacher_head import require_teacher_head

if TYPE_CHECKING:
    from .teacher_student_config import TeacherStudentConfig


LOWEST_WEIGHT, HIGHEST_WEIGHT = 1e-6, 1e6
"""Of a teacher among several, over their sum."""


def teacher_paths(teacher: str) -> List[str]:
    """The paths that ``--teacher`` names: one, which may hold colons if it is there, or several between colons.

    Raises:
        UserError: there is nothing before or after a colon
    """
    paths = [teacher] if os.path.exists(teacher) else utils.split_paths(teacher)
    if len(paths) > 1 and not all(path.strip() for path in paths):
        raise UserError(
            f"--teacher (model.teacher) is {teacher!r}, with no path before or after a colon; give one on each side"
        )
    return paths


def teacher_weights(cfg: "TeacherStudentConfig") -> Tuple[float, ...]:
    """The part of each teacher in the soft targets: equal ones, or ``cfg.teacher_weights`` over their sum.

    Raises:
        UserError: see :func:`teacher_paths`, or there are weights of one teacher, or of another number, or one is no
            weight
    """
    paths, weights = teacher_paths(cfg.teacher), cfg.teacher_weights
    if weights is None:
        return (1 / len(paths),) * len(paths)
    option = "--teacher-weights (model.teacher_weights)"
    if len(paths) == 1:
        raise UserError(f"{option} is for several teachers, but --teacher names one; leave it out")
    if len(weights) != len(paths):
        raise UserError(f"{option} has {len(weights)} weights, but --teacher names {len(paths)} teachers; give as many")
    for path, weight in zip(paths, weights, strict=True):
        if not LOWEST_WEIGHT <= weight <= HIGHEST_WEIGHT:
            raise UserError(
                f"{option}: the weight of teacher {path} is {weight}, but must be from {LOWEST_WEIGHT} to "
                f"{HIGHEST_WEIGHT:g}; leave out a teacher that is to have no part"
            )
    return tuple(weight / sum(weights) for weight in weights)


def read_teachers(cfg: "TeacherStudentConfig", task: FairseqTask) -> List[DistilEncoderModel]:
    """Read the teachers that ``cfg.teacher`` names.

    Raises:
        UserError: one is not usable, or has another dictionary, or too few positions; there are several where they
            are of no use
    """
    paths = teacher_paths(cfg.teacher)
    if len(paths) > 1 and not isinstance(task, MaskedLMTask):
        raise UserError(
            f"several teachers are for masked language modelling, not for task {task.cfg._name}; give one --teacher "
            "(model.teacher)"
        )
    teachers = []
    for path in paths:
        stored = read_encoder(path, task.source_dictionary, utils.split_paths(task.cfg.data)[0], role="teacher")
        with naming(f"teacher {path}"):
            teachers.append(DistilEncoderModel.restored(stored.config, stored.weights))
            require_teacher_head(teachers[-1], stored, task)
            if len(paths) > 1:
                _require_masked_lm_head(teachers[-1])
            if isinstance(task, MaskedLMTask):
                _require_positions(teachers[-1], task.cfg.tokens_per_sample)
    return teachers


def _require_masked_lm_head(teacher: DistilEncoderModel) -> None:
    if teacher.masked_lm_head is None:
        raise UserError(
            "it has no masked-LM head, which each of several teachers needs; train a head first: --arch distil_encoder "
            "--pretrained TEACHER --fit-mlm-head"
        )


def _require_positions(teacher: DistilEncoderModel, tokens_per_sample: int) -> None:
    if teacher.max_positions() < tokens_per_sample:
        raise UserError(
            f"it has {teacher.max_positions()} positions, but --tokens-per-sample (task.tokens_per_sample) is "
            f"{tokens_per_sample}; lower it"
        )
