"""A student encoder beside its frozen teacher or teachers, registered as ``teacher_student``."""

import logging
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

import torch
from fairseq.models import register_model
from fairseq.tasks import FairseqTask
from omegaconf import OmegaConf
from torch import Tensor

from fairseq_distil.errors import UserError, naming
from fairseq_distil.losses import TermScales, VocabularyProjection, WordOutcomes
from fairseq_distil.modules import EncoderConfig, narrow, parse_layer_map, select_layers

from .data_memory import remember_data
from .distil_encoder import DistilEncoderModel
from .distil_encoder_config import encoder_config, encoder_sizes
from .pretrained_encoder import has_masked_lm_head, read_pretrained, start_from
from .soft_target_cache import SoftTargetCache
from .teacher_cache import TeacherCache
from .teacher_student_config import TeacherStudentConfig, require_consistent
from .teachers import read_teachers, teacher_paths, teacher_weights

logger = logging.getLogger(__name__)
MAY_DIFFER = ("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads")
"""Sizes of a student that starts from its teacher."""


@register_model("teacher_student", dataclass=TeacherStudentConfig)
class TeacherStudentModel(DistilEncoderModel):
    """The student, which is what trains and is saved, with the teacher at hand.

    The teacher is deliberately not a submodule: it is in neither the state dict nor the parameters, so that the
    checkpoint, the optimiser, the parameter counts and distributed training hold the student alone. It follows the
    student from device to device. Of several, which have one vocabulary, the first is the teacher that the student
    starts from and whose hidden states it is compared with; the others have a part in the soft targets alone.

    Args:
        student_config: the student's shape
        teachers: one or more
        with_masked_lm_head: whether the student has a masked-LM head
        teacher_weights: part of each teacher in the soft targets; they add up to 1
    """

    def __init__(
        self,
        student_config: EncoderConfig,
        teachers: Sequence[DistilEncoderModel],
        with_masked_lm_head: bool = True,
        teacher_weights: Sequence[float] = (1.0,),
    ) -> None:
        super().__init__(student_config, with_masked_lm_head)
        self._teachers_outside_of_modules = tuple(teacher.requires_grad_(False).eval() for teacher in teachers)
        self.teacher_weights = tuple(teacher_weights)
        self._teacher_dtype: Optional[torch.dtype] = None
        self._checked_of_teacher: Set[str] = set()
        self.teacher_cache: Optional[TeacherCache] = None
        self.soft_target_cache: Optional[SoftTargetCache] = None

    @property
    def teacher(self) -> DistilEncoderModel:
        """The frozen teacher, of several the first, always in evaluation mode."""
        return self.teachers[0]

    @property
    def teachers(self) -> Tuple[DistilEncoderModel, ...]:
        """All of them."""
        return self._teachers_outside_of_modules

    def max_positions(self) -> int:
        """Tokens of a sample at most, which the student and its teachers read."""
        return min(encoder.config.max_positions for encoder in (self, *self.teachers))

    @classmethod
    def build_model(cls, cfg: TeacherStudentConfig, task: FairseqTask) -> "TeacherStudentModel":
        """Load the teachers, then build and initialise the student.

        Raises:
            UserError: no usable teacher, or one with another dictionary; settings that do not fit the teachers
        """
        require_consistent(cfg)
        weights, teachers = teacher_weights(cfg), read_teachers(cfg, task)
        if cfg.pretrained:
            start = read_pretrained(cfg, task)
            has_head = not cfg.no_masked_lm_head and has_masked_lm_head(start.weights)
            model = cls(start.config, teachers, has_head, weights)
            with naming(f"pretrained {cfg.pretrained}"):
                start_from(model, start.weights)
        else:
            has_head = not cfg.no_masked_lm_head and teachers[0].masked_lm_head is not None
            config = encoder_config(_with_teacher_sizes(cfg, teachers[0].config), task.source_dictionary)
            model = cls(config, teachers, has_head, weights)
            if cfg.student_init == "teacher":
                model.start_from_teacher(cfg.teacher_layer_map)
        if str(cfg.teacher_dtype) != "same":
            model.set_teacher_dtype(getattr(torch, str(cfg.teacher_dtype)))
        if cfg.teacher_cache:
            if "repeat_masks_after" in task.cfg:
                model.soft_target_cache = SoftTargetCache(Path(cfg.teacher_cache), task)
            else:
                model.teacher_cache = TeacherCache(Path(cfg.teacher_cache), task)
        model.finish(cfg)
        remember_data(task)
        _log_sizes(model, cfg)
        return model

    def start_from_teacher(self, layer_map: Optional[str]) -> None:
        """Copy the teacher's embeddings, masked-LM head, and the layers that ``layer_map`` names (None: the default).

        A narrower student gets a part of their dimensions, see :func:`narrow`.

        Raises:
            UserError: sizes that must be equal differ, the student is wider, or the map does not fit
        """
        teacher_config = self.teacher.config
        for name, student_size in encoder_sizes(self.config).items():
            teacher_size = encoder_sizes(teacher_config)[name]
            if name not in MAY_DIFFER and student_size != teacher_size:
                raise UserError(
                    f"the student cannot start from the teacher: {name} is {student_size} for the student and "
                    f"{teacher_size} for the teacher; make them equal or use --student-init random"
                )
        try:
            layers = parse_layer_map(layer_map, teacher_config.layers, self.config.layers)
        except ValueError as error:
            raise UserError(f"--teacher-layer-map (model.teacher_layer_map): {error}") from error
        logger.info("student layers start from the teacher's layers %s", layers)
        weights = select_layers(self.teacher.state_dict(), layers)
        if _width_sizes(self.config) != _width_sizes(teacher_config):
            try:
                weights = narrow(weights, teacher_config, self.config)
            except ValueError as error:
                raise UserError(
                    f"the student cannot start from the teacher: {error}; or use --student-init random"
                ) from error
        start_from(self, weights)

    def set_teacher_dtype(self, dtype: torch.dtype) -> None:
        """Hold the teacher's weights in ``dtype`` from now on, whatever the student's are moved to."""
        self._teacher_dtype = dtype
        for teacher in self.teachers:
            teacher.to(dtype)

    def compile_encoder(self) -> None:
        super().compile_encoder()
        for teacher in self.teachers:
            teacher.compile_encoder()

    @torch.inference_mode()
    def teacher_states(self, net_input: Dict[str, Any], layers: Sequence[int]) -> Dict[int, Tensor]:
        """The teacher's hidden states ``(batch, length, width)`` for the student's input, by layer.

        Args:
            net_input: the batch, as the student takes it
            layers: which, counted from 1, and 0 the embeddings', in rising order; those above the last are not
                computed

        Raises:
            UserError: the first ones of the last layer are not finite
        """
        states = self.teacher(**net_input, features_only=True, layers=tuple(layers))[1]["inner_states"]
        self._checked_once("the teacher's hidden states", states[-1])
        return dict(zip(layers, states, strict=True))

    @torch.inference_mode()
    def teacher_logits(self, net_input: Dict[str, Any], **head: Any) -> Tensor:
        """Logits of the teacher's head that ``head`` chooses, as in ``forward``, for the student's input.

        Raises:
            UserError: the first ones are not finite
        """
        return self._checked_once("the teacher's logits", self.teacher(**net_input, **head)[0])

    def task_teacher_logits(self, sample: Dict[str, Any], **head: Any) -> Tensor:
        """The same for a batch of a task that is fine-tuned on, from ``--teacher-cache`` if there is one.

        Raises:
            UserError: see :meth:`teacher_logits` and :meth:`TeacherCache.logits`
            StopRequested: see :meth:`TeacherCache.logits`
        """
        if self.teacher_cache is None:
            return self.teacher_logits(sample["net_input"], **head)
        return self.teacher_cache.logits(self.teacher, sample, head)

    def teacher_projection(self, hidden: Tensor) -> VocabularyProjection:
        """What the vocabulary losses read instead of the teacher's logits, for its hidden states ``(rows, width)``.

        Raises:
            UserError: the first logits are not finite
        """
        projection = self.teacher.vocabulary_projection(hidden)
        self._checked_once("the teacher's logits", *projection)
        return projection

    @torch.inference_mode()
    def soft_target_projections(self, net_input: Dict[str, Any], rows: Tensor) -> List[VocabularyProjection]:
        """What all teachers' logits are made of, which run for this alone; nothing is checked.

        Args:
            net_input: the batch, as the student takes it
            rows: positions of the tokens in the flattened batch
        """
        return [_projection(teacher, net_input, rows) for teacher in self.teachers]

    def stored_outcomes(self, sample: Dict[str, Any], scales: TermScales) -> WordOutcomes:
        """What the soft targets of a batch's masked tokens read instead of the teachers, where there is a cache.

        Raises:
            UserError, StopRequested: see :meth:`SoftTargetCache.outcomes`
        """
        return self.soft_target_cache.outcomes(self, sample, scales)

    @torch.inference_mode()
    def further_teacher_projections(self, net_input: Dict[str, Any], rows: Tensor) -> List[VocabularyProjection]:
        """What :meth:`teacher_projection` is of the first teacher, of those after it, which run for this alone.

        Args:
            net_input: the batch, as the student takes it
            rows: positions of the tokens in the flattened batch

        Raises:
            UserError: the first logits of one are not finite
        """
        projections = []
        for number, teacher in enumerate(self.teachers[1:], start=2):
            projections.append(_projection(teacher, net_input, rows))
            self._checked_once(f"the logits of teacher {number}", *projections[-1])
        return projections

    def _checked_once(self, name: str, *outputs: Tensor) -> Tensor:
        # Once, for looking at values waits for a GPU; a batch may have no masked token, whose logits tell nothing.
        if not outputs[0].numel():
            return outputs[0]
        if name not in self._checked_of_teacher and not all(output.isfinite().all() for output in outputs):
            raise UserError(
                f"{name} are not finite: its weights are damaged, or too large for its type; see "
                "--teacher-dtype and --autocast-dtype"
            )
        self._checked_of_teacher.add(name)
        return outputs[0]

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> "TeacherStudentModel":
        for teacher in self.teachers:
            teacher._apply(function, recurse)
            if self._teacher_dtype is not None:
                teacher.to(self._teacher_dtype)
        return super()._apply(function, recurse)


def _projection(teacher: DistilEncoderModel, net_input: Dict[str, Any], rows: Tensor) -> VocabularyProjection:
    return teacher.vocabulary_projection(teacher(**net_input, features_only=True)[0].flatten(0, 1)[rows])


def _with_teacher_sizes(cfg: TeacherStudentConfig, teacher_config: EncoderConfig) -> TeacherStudentConfig:
    """Half of the teacher's layers, and its other sizes, wherever ``cfg`` leaves a size out.

    With another width, feed-forward blocks are in proportion, and heads as wide as the teacher's where they can be.
    """
    sizes = encoder_sizes(teacher_config)
    sizes["encoder_layers"] = max(1, teacher_config.layers // 2)
    if cfg.encoder_embed_dim not in (None, teacher_config.width):
        scale = cfg.encoder_embed_dim / teacher_config.width
        sizes["encoder_ffn_embed_dim"] = max(1, round(scale * teacher_config.feed_forward_width))
        head_width = teacher_config.width // teacher_config.attention_heads
        if cfg.encoder_embed_dim % head_width == 0:
            sizes["encoder_attention_heads"] = cfg.encoder_embed_dim // head_width
    missing = {name: size for name, size in sizes.items() if cfg[name] is None}
    return OmegaConf.merge(cfg, missing)


def _width_sizes(config: EncoderConfig) -> Tuple[int, int, int]:
    return config.width, config.feed_forward_width, config.attention_heads


def _log_sizes(model: TeacherStudentModel, cfg: TeacherStudentConfig) -> None:
    student = sum(parameter.numel() for parameter in model.parameters())
    for path, teacher in zip(teacher_paths(cfg.teacher), model.teachers, strict=True):
        count = sum(parameter.numel() for parameter in teacher.parameters())
        logger.info(
            "teacher %s: %d layers, %s parameters, frozen; student: %d layers, %s parameters (%.0f%%)",
            path,
            teacher.config.layers,
            f"{count:,}",
            model.config.layers,
            f"{student:,}",
            100 * student / count,
        )
