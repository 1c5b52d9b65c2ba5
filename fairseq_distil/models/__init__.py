"""Registered models and architectures."""

from . import architectures
from .distil_encoder import DistilEncoderModel
from .distil_encoder_config import DistilEncoderConfig
from .teacher_student import TeacherStudentModel
from .teacher_student_config import TeacherStudentConfig

__all__ = [
    "DistilEncoderConfig",
    "DistilEncoderModel",
    "TeacherStudentConfig",
    "TeacherStudentModel",
    "architectures",
]
