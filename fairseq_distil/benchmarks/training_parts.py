"""Task, model, criterion and optimiser of a measurement, built as fairseq builds them."""

from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from fairseq import optim, tasks
from fairseq.criterions import FairseqCriterion
from fairseq.dataclass.configs import FairseqConfig
from fairseq.dataclass.initialize import add_defaults
from fairseq.models import BaseFairseqModel
from fairseq.optim import FairseqOptimizer
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig, OmegaConf

from fairseq_distil.checkpoints.plugin_checkpoint import plugin_checkpoint, write_checkpoint
from fairseq_distil.models import DistilEncoderModel
from fairseq_distil.models.distil_encoder_config import encoder_sizes
from fairseq_distil.modules import EncoderConfig

from .training_case import TrainingCase

MASK_PROB = 0.15
CLIP_NORM = 5.0
LEARNING_RATE = 1e-4
TEACHER_FILE = "teacher.pt"
CACHE_FOLDER = "outputs"


class TrainingParts(NamedTuple):
    """What a training step is made of."""

    task: FairseqTask
    model: BaseFairseqModel
    criterion: FairseqCriterion
    optimizer: FairseqOptimizer


def settings_of(case: TrainingCase, data: Path) -> dict[str, dict[str, Any]]:
    """Settings of task, model, criterion and optimiser by the names of their fields."""
    criterion = {"_name": "masked_lm"}
    if case.distils:
        published = {"_name": "distillation", "soft_target_positions": case.positions}
        criterion = {**published, **case.addition.criterion}
    return {
        "task": {
            "_name": "distil_masked_lm",
            "data": str(data),
            "tokens_per_sample": case.length,
            "sample_break_mode": "eos" if case.padding else "none",
            "mask_prob": MASK_PROB,
            "autocast_dtype": "none" if case.dtype == "float32" else case.dtype,
            **(case.addition.task if case.distils else {}),
        },
        "model": _model_settings(case, data),
        "criterion": criterion,
        "optimizer": {"_name": "adam" if case.encoder == "roberta" else "fused_adamw"},
    }


def build_parts(case: TrainingCase, data: Path) -> TrainingParts:
    """Build everything with random weights, in training mode, on the case's device.

    Args:
        case: what to build
        data: of :func:`~fairseq_distil.benchmarks.random_data.write_random_data`; the teacher's checkpoint is written
            there too

    Raises:
        UserError: the model refuses a setting
    """
    torch.manual_seed(0)
    model_settings = settings_of(case, data)["model"]
    cfg = configuration_of(case, data)
    task = tasks.setup_task(cfg.task)
    task.keeps_released_memory = case.encoder != "roberta"
    if case.distils:
        write_random_teacher(case, task, data / TEACHER_FILE)
    # fairseq's roberta has no configuration class, so that the structured configuration cannot hold its settings
    model = task.build_model(Namespace(**model_settings) if case.encoder == "roberta" else cfg.model)
    criterion = task.build_criterion(cfg.criterion)
    model, criterion = model.to(case.device).train(), criterion.to(case.device).train()
    parameters = [p for part in (model, criterion) for p in part.parameters() if p.requires_grad]
    optimizer = optim.build_optimizer(cfg.optimizer, parameters)
    task.load_dataset("train")
    return TrainingParts(task, model, criterion, optimizer)


def write_random_teacher(case: TrainingCase, task: FairseqTask, path: Path) -> None:
    """Write the checkpoint of an encoder that has learned nothing, for ``--teacher``."""
    teacher = DistilEncoderModel(
        EncoderConfig(
            vocabulary_size=len(task.source_dictionary),
            padding_index=task.source_dictionary.pad(),
            layers=case.layers,
            width=case.width,
            feed_forward_width=4 * case.width,
            attention_heads=case.heads,
            max_positions=_max_positions(case),
        )
    )
    symbols = task.source_dictionary.symbols
    write_checkpoint(plugin_checkpoint(teacher.state_dict(), encoder_sizes(teacher.config), symbols), path)


def configuration_of(case: TrainingCase, data: Path) -> DictConfig:
    """The same as fairseq's whole configuration, but for the model's where it has no configuration class."""
    settings = settings_of(case, data)
    if case.encoder == "roberta":
        del settings["model"]
    others = {
        "common": {"cpu": case.device_type == "cpu"},
        "optimization": {"lr": [LEARNING_RATE], "clip_norm": CLIP_NORM},
        "lr_scheduler": {"_name": "fixed"},
    }
    cfg = OmegaConf.merge(OmegaConf.structured(FairseqConfig), settings, others)
    add_defaults(cfg)
    return cfg


def _model_settings(case: TrainingCase, data: Path) -> dict[str, Any]:
    sizes = {
        "encoder_layers": case.student_layers,
        "encoder_embed_dim": case.student_width,
        "encoder_ffn_embed_dim": 4 * case.student_width,
        "encoder_attention_heads": case.student_heads,
        "max_positions": _max_positions(case),
        "dropout": 0.1,
        "attention_dropout": 0.1,
    }
    if case.encoder == "roberta":
        return {"_name": "roberta", "arch": "roberta", **sizes}
    if case.distils:
        teachers = ":".join([str(data / TEACHER_FILE)] * case.addition.teachers)
        teacher = {"teacher": teachers, "teacher_dtype": case.teacher_dtype, "student_init": "random"}
        cache = {"teacher_cache": str(data / CACHE_FOLDER)} if case.addition.has_cache else {}
        return {"_name": "teacher_student", **teacher, **cache, **sizes, "compile": case.compile}
    return {"_name": "distil_encoder", **sizes, "compile": case.compile}


def _max_positions(case: TrainingCase) -> int:
    return max(512, case.length)
