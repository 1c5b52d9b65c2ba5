"""Settings of the model ``teacher_student``."""

from dataclasses import dataclass, field
from typing import List, Optional

from fairseq.dataclass import ChoiceEnum

from fairseq_distil.errors import UserError

from .distil_encoder_config import DistilEncoderConfig


@dataclass
class TeacherStudentConfig(DistilEncoderConfig):
    """The student's sizes; those that are left out are the teacher's, with half of its layers.

    Of another width, feed-forward blocks are in the teacher's proportion to it.
    """

    teacher: Optional[str] = field(
        default=None,
        metadata={
            "help": "teacher, which is frozen and never saved: checkpoint of a distil_encoder or of a fairseq "
            "roberta (dict.txt beside it), or a directory of transformers; or several separated by colons: soft "
            "targets are the mixture of their distributions, all else is of the first"
        },
    )
    teacher_weights: Optional[List[float]] = field(
        default=None,
        metadata={"help": "part of each of several teachers, separated by commas, over their sum (default: equal)"},
    )
    student_init: ChoiceEnum(["teacher", "random"]) = field(
        default="teacher", metadata={"help": "where the student's first weights come from"}
    )
    teacher_layer_map: Optional[str] = field(
        default=None,
        metadata={
            "help": "teacher layer that each student layer starts from, counted from 0, separated by commas "
            "(default: evenly spaced, with the first and the last; 0,2,4,7,9,11 for 12 -> 6)"
        },
    )
    teacher_dtype: ChoiceEnum(["same", "float32", "bfloat16", "float16"]) = field(
        default="same", metadata={"help": "type of the teacher's weights (default: the student's)"}
    )
    teacher_cache: Optional[str] = field(
        default=None,
        metadata={
            "help": "folder where the teacher's outputs are kept, so that they are computed once for each sample, and "
            "again only if the teacher or the data change: in fine-tuning, and where masks repeat the soft targets of "
            "masked tokens' likeliest words"
        },
    )


def require_consistent(cfg: TeacherStudentConfig) -> None:
    if not cfg.teacher:
        raise UserError("teacher_student needs --teacher (model.teacher): the checkpoint of a distil_encoder")
    if cfg.fit_mlm_head:
        raise UserError("--fit-mlm-head is for a distil_encoder; fit the teacher's head first, then distil")
    if cfg.pretrained and (cfg.student_init == "random" or cfg.teacher_layer_map):
        raise UserError(
            "--pretrained is what the student starts from; leave out --student-init and --teacher-layer-map"
        )
    if cfg.student_init == "random" and cfg.teacher_layer_map:
        raise UserError("--teacher-layer-map is of no use with --student-init random; leave one of them out")
