"""Registered models and architectures."""

from . import architectures
from .distil_encoder import DistilEncoderConfig, DistilEncoderModel
from .teacher_student import TeacherStudentConfig, TeacherStudentModel

__all__ = [
    "DistilEncoderConfig",
    "DistilEncoderModel",
    "TeacherStudentConfig",
    "TeacherStudentModel",
    "architectures",
]
