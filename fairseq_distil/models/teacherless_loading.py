"""Checkpoints of students that load where their teacher is not at hand, in whatever task."""

import logging
import os
from typing import Any

from fairseq import models
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig, OmegaConf

from fairseq_distil.errors import one_line

from .encoder_loading import ENCODER_NAMES
from .teachers import teacher_paths

logger = logging.getLogger(__name__)
_build_model = models.build_model


def let_students_load_without_teacher() -> None:
    """Replace the function by which the tasks build every model: fairseq's own tasks know nothing of teachers."""
    models.build_model = build_model


def build_model(cfg: Any, task: FairseqTask, from_checkpoint: bool = False) -> BaseFairseqModel:
    """What fairseq's function of this name builds; of a checkpoint, see :func:`without_missing_teacher`."""
    is_stored_encoder = from_checkpoint and isinstance(cfg, DictConfig) and _name(cfg).startswith(ENCODER_NAMES)
    return _build_model(without_missing_teacher(cfg) if is_stored_encoder else cfg, task, from_checkpoint)


def _name(cfg: DictConfig) -> str:
    return str(cfg.get("_name"))


def without_missing_teacher(cfg: DictConfig) -> DictConfig:
    """The settings of a checkpoint's encoder; those of its student alone, where the teacher is not at hand.

    What its encoder started from is not read again: the checkpoint holds all weights.
    """
    if cfg.get("pretrained"):
        cfg = OmegaConf.merge(cfg, {"pretrained": None})
    if "teacher" not in cfg:
        return cfg
    paths = teacher_paths(cfg.teacher or "")
    missing = [path for path in paths if not os.path.exists(path)]
    if not missing:
        return cfg
    if cfg.teacher:
        logger.warning("teacher %s: no such file; the student is loaded without it", one_line(missing[0]))
    return OmegaConf.merge(cfg, {"_name": "distil_encoder"})
