"""What the terms of the objective ask of their options and of the model."""

from dataclasses import fields
from typing import Any, Iterable, List, Mapping

from fairseq.models import BaseFairseqModel

from fairseq_distil.errors import UserError
from fairseq_distil.schedule import Schedule

from .distillation_config import DistillationConfig
from .terms import Term
from .terms.soft_target import SoftTargetTerm


def require_options_of_use(cfg: Any, terms_without_weight: Iterable[Term]) -> None:
    """Check that no option is for nothing.

    Raises:
        UserError: one that is not at its default is of a term without weight
    """
    for term in terms_without_weight:
        for option in fields(term.options):
            value = getattr(cfg, option.name)
            if option.name != term.weight_name and str(value) != str(option.default):
                default = "out" if option.default is None else f"at its default, {option.default}"
                raise UserError(
                    f"criterion.{option.name} is {value}, but criterion.{term.weight_name} is 0; raise it, or "
                    f"leave {option.name} {default}"
                )


def require_schedules_of_use(cfg: Any, schedules: Mapping[str, Schedule]) -> None:
    """Check that no schedule is for nothing, nor the setting that it changes.

    Raises:
        UserError: one stays at 0, or its setting is neither at its default, nor 0, nor where the schedule begins or
            ends
    """
    defaults = {option.name: option.default for option in fields(DistillationConfig)}
    for name, schedule in schedules.items():
        if schedule.is_constant and schedule.last == 0:
            raise UserError(
                f"criterion.schedules keeps {name} at 0; leave its schedule out, and set criterion.{name} to 0"
            )
        value = getattr(cfg, name)
        if value not in (defaults[name], 0, schedule.first, schedule.last):
            course = f"takes it from {schedule.first} to {schedule.last}"
            if schedule.is_constant:
                course = f"keeps it at {schedule.last}"
            raise UserError(
                f"criterion.{name} is {value}, but criterion.schedules {course}; leave one of them out, or set {name} "
                f"to {schedule.first}"
            )


def require_suitable(terms: List[Term], model: BaseFairseqModel, mask_prob: float) -> None:
    """Check that a model and the task's masking have what the terms need.

    Args:
        terms: with a weight
        model: the student, with its teachers if it has some
        mask_prob: the task's

    Raises:
        UserError: a term needs a teacher, a masked-LM head or masked tokens that there are none of, or something else
            of the model that it has not, or that its cache of soft targets has not
    """
    teacher = getattr(model, "teacher", None)
    if mask_prob == 0:
        _require_none(
            [term for term in terms if not term.is_over_all_tokens],
            "masks, but task.mask_prob is 0; raise it, or set them to 0",
        )
    if teacher is None:
        _require_none(
            [term for term in terms if term.needs_teacher],
            "a teacher, but the model has none; train a teacher_student with --teacher, or set them to 0",
        )
    for encoder, role, of_teacher in ((model, "student", False), (teacher, "teacher", True)):
        if encoder is not None and encoder.masked_lm_head is None:
            _require_none(
                [term for term in terms if term.needs_masked_lm_heads and term.needs_teacher >= of_teacher],
                f"masked-LM heads, but the {role} has none; set them to 0, or train a head first: "
                "--arch distil_encoder --pretrained TEACHER --fit-mlm-head",
            )
    has_soft_targets = any(isinstance(term, SoftTargetTerm) for term in terms)
    if len(getattr(model, "teachers", ())) > 1 and not has_soft_targets:
        raise UserError(
            "several teachers have a part in the soft targets alone, but criterion.soft_target_weight is 0; raise "
            "it, or give one --teacher (model.teacher)"
        )
    if getattr(model, "soft_target_cache", None) is not None:
        stored = "--teacher-cache (model.teacher_cache) keeps soft targets alone"
        others = [term for term in terms if term.needs_teacher and not isinstance(term, SoftTargetTerm)]
        _require_none(others, f"more of the teacher, but {stored}; set them to 0, or leave it out")
        if not has_soft_targets:
            raise UserError(f"{stored}, but criterion.soft_target_weight is 0; raise it, or leave the cache out")
    for term in terms:
        term.require_suitable(model)


def _require_none(terms: List[Term], needed: str) -> None:
    """Raise a UserError if there are terms, which need what there is not."""
    if terms:
        names = " and ".join(f"criterion.{term.weight_name}" for term in terms)
        raise UserError(f"the terms of {names} need {needed}")
