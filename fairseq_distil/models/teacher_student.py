"""A student encoder beside its frozen teacher, registered as ``teacher_student``."""

import logging
import os
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Optional, Sequence, Set, Tuple

import torch
from fairseq import utils
from fairseq.dataclass import ChoiceEnum
from fairseq.models import register_model
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from fairseq_distil.errors import UserError, naming
from fairseq_distil.losses import VocabularyProjection
from fairseq_distil.modules import EncoderConfig, narrow, parse_layer_map, select_layers

from .data_memory import remember_data
from .distil_encoder import DistilEncoderModel
from .distil_encoder_config import DistilEncoderConfig, encoder_config, encoder_sizes
from .encoder_loading import read_encoder
from .pretrained_encoder import has_masked_lm_head, read_pretrained, start_from
from .teacher_head import require_teacher_head

logger = logging.getLogger(__name__)
MAY_DIFFER = ("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads")
"""Sizes of a student that starts from its teacher."""


@dataclass
class TeacherStudentConfig(DistilEncoderConfig):
    """The student's sizes; those that are left out are the teacher's, with half of its layers."""

    teacher: Optional[str] = field(
        default=None,
        metadata={
            "help": "teacher, which is frozen and never saved: checkpoint of a distil_encoder or of a fairseq "
            "roberta (dict.txt beside it), or a directory of transformers"
        },
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


@register_model("teacher_student", dataclass=TeacherStudentConfig)
class TeacherStudentModel(DistilEncoderModel):
    """The student, which is what trains and is saved, with the teacher at hand.

    The teacher is deliberately not a submodule: it is in neither the state dict nor the parameters, so that the
    checkpoint, the optimiser, the parameter counts and distributed training hold the student alone. It follows the
    student from device to device.
    """

    def __init__(
        self, student_config: EncoderConfig, teacher: DistilEncoderModel, with_masked_lm_head: bool = True
    ) -> None:
        super().__init__(student_config, with_masked_lm_head)
        self._teacher_outside_of_modules = (teacher.requires_grad_(False).eval(),)
        self._teacher_dtype: Optional[torch.dtype] = None
        self._checked_of_teacher: Set[str] = set()

    @property
    def teacher(self) -> DistilEncoderModel:
        """The frozen teacher, always in evaluation mode."""
        return self._teacher_outside_of_modules[0]

    @classmethod
    def build_model(cls, cfg: TeacherStudentConfig, task: FairseqTask) -> "TeacherStudentModel":
        """Load the teacher, then build and initialise the student.

        Raises:
            UserError: no usable teacher, or one with another dictionary; settings that do not fit the teacher
        """
        _require_consistent(cfg)
        dictionary, data = task.source_dictionary, utils.split_paths(task.cfg.data)[0]
        stored = read_encoder(cfg.teacher, dictionary, data, role="teacher")
        with naming(f"teacher {cfg.teacher}"):
            teacher = DistilEncoderModel.restored(stored.config, stored.weights)
            require_teacher_head(teacher, stored, task)
        if cfg.pretrained:
            start = read_pretrained(cfg, task)
            model = cls(start.config, teacher, not cfg.no_masked_lm_head and has_masked_lm_head(start.weights))
            with naming(f"pretrained {cfg.pretrained}"):
                start_from(model, start.weights)
        else:
            has_head = not cfg.no_masked_lm_head and teacher.masked_lm_head is not None
            model = cls(encoder_config(_with_teacher_sizes(cfg, teacher.config), dictionary), teacher, has_head)
            if cfg.student_init == "teacher":
                model.start_from_teacher(cfg.teacher_layer_map)
        if str(cfg.teacher_dtype) != "same":
            model.set_teacher_dtype(getattr(torch, str(cfg.teacher_dtype)))
        model.finish(cfg)
        remember_data(task)
        _log_sizes(model, cfg.teacher)
        return model

    def start_from_teacher(self, layer_map: Optional[str]) -> None:
        """Copy the teacher's embeddings, masked-LM head, and the layers that ``layer_map`` names (None: the default).

        A narrower student gets them along the directions that matter most, see :func:`narrow`.

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
        self.teacher.to(dtype)

    def compile_encoder(self) -> None:
        super().compile_encoder()
        self.teacher.compile_encoder()

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
        self._checked_once("hidden states", states[-1])
        return dict(zip(layers, states, strict=True))

    @torch.inference_mode()
    def teacher_logits(self, net_input: Dict[str, Any], **head: Any) -> Tensor:
        """Logits of the teacher's head that ``head`` chooses, as in ``forward``, for the student's input.

        Raises:
            UserError: the first ones are not finite
        """
        return self._checked_once("logits", self.teacher(**net_input, **head)[0])

    def teacher_projection(self, hidden: Tensor) -> VocabularyProjection:
        """What the vocabulary losses read instead of the teacher's logits, for its hidden states ``(rows, width)``.

        Raises:
            UserError: the first logits are not finite
        """
        projection = self.teacher.vocabulary_projection(hidden)
        self._checked_once("logits", *projection)
        return projection

    def _checked_once(self, name: str, *outputs: Tensor) -> Tensor:
        # Once, for looking at values waits for a GPU.
        if name not in self._checked_of_teacher and not all(output.isfinite().all() for output in outputs):
            raise UserError(
                f"the teacher's {name} are not finite: its weights are damaged, or too large for its type; see "
                "--teacher-dtype and --autocast-dtype"
            )
        self._checked_of_teacher.add(name)
        return outputs[0]

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> "TeacherStudentModel":
        self.teacher._apply(function, recurse)
        if self._teacher_dtype is not None:
            self.teacher.to(self._teacher_dtype)
        return super()._apply(function, recurse)


def without_missing_teacher(cfg: Any) -> Any:
    """The settings of a checkpoint's model; those of its student alone, where the teacher is not at hand.

    What its encoder started from is not read again: the checkpoint holds all weights.
    """
    if isinstance(cfg, DictConfig) and cfg.get("pretrained"):
        cfg = OmegaConf.merge(cfg, {"pretrained": None})
    if "teacher" not in cfg or os.path.exists(cfg.teacher or ""):
        return cfg
    if cfg.teacher:
        logger.warning("teacher %s: no such file; the student is loaded without it", cfg.teacher)
    return OmegaConf.merge(cfg, {"_name": "distil_encoder"})


def _require_consistent(cfg: TeacherStudentConfig) -> None:
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


def _with_teacher_sizes(cfg: TeacherStudentConfig, teacher_config: EncoderConfig) -> TeacherStudentConfig:
    """Half of the teacher's layers, and its other sizes, wherever ``cfg`` leaves a size out.

    With another width, heads are as wide as the teacher's where they can be.
    """
    sizes = encoder_sizes(teacher_config)
    sizes["encoder_layers"] = max(1, teacher_config.layers // 2)
    if cfg.encoder_embed_dim not in (None, teacher_config.width):
        del sizes["encoder_ffn_embed_dim"]
        head_width = teacher_config.width // teacher_config.attention_heads
        if cfg.encoder_embed_dim % head_width == 0:
            sizes["encoder_attention_heads"] = cfg.encoder_embed_dim // head_width
    missing = {name: size for name, size in sizes.items() if cfg[name] is None}
    return OmegaConf.merge(cfg, missing)


def _width_sizes(config: EncoderConfig) -> Tuple[int, int, int]:
    return config.width, config.feed_forward_width, config.attention_heads


def _log_sizes(model: TeacherStudentModel, path: str) -> None:
    count = {
        name: sum(parameter.numel() for parameter in encoder.parameters())
        for name, encoder in (("teacher", model.teacher), ("student", model))
    }
    logger.info(
        "teacher %s: %d layers, %s parameters, frozen; student: %d layers, %s parameters (%.0f%%)",
        path,
        model.teacher.config.layers,
        f"{count['teacher']:,}",
        model.config.layers,
        f"{count['student']:,}",
        100 * count["student"] / count["teacher"],
    )
