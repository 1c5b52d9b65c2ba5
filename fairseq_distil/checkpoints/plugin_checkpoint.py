"""Checkpoints of this plugin from converted weights."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fairseq.dataclass.configs import FairseqConfig
from fairseq.dataclass.initialize import add_defaults
from omegaconf import OmegaConf
from torch import Tensor

from fairseq_distil.atomic_file import replace_whole
from fairseq_distil.checkpoints.key_maps import HEAD_BIAS
from fairseq_distil.checkpoints.weight_shapes import require_shapes
from fairseq_distil.errors import UserError
from fairseq_distil.modules import EncoderConfig

DEFAULT_TOKENS_PER_SAMPLE = 512


def plugin_checkpoint(
    weights: dict[str, Tensor],
    sizes: Mapping[str, Any],
    symbols: Sequence[str],
    classification: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What fairseq loads and ``--teacher`` takes: a ``distil_encoder`` that has made no update.

    Args:
        weights: its state dict
        sizes: the options of the model that give its shape
        symbols: of its dictionary, in the order of the ids
        classification: ``labels`` and ``problem_type`` of a classification head, where they are known

    Raises:
        UserError: a size is impossible, or a weight has another shape than the sizes say
    """
    _require_shapes(weights, sizes, len(symbols))
    return {
        "args": None,
        "cfg": _configuration({**sizes, "no_masked_lm_head": HEAD_BIAS not in weights}),
        "model": weights,
        "criterion": None,
        "optimizer_history": [
            {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {"best": None}, "num_updates": 0}
        ],
        "last_optimizer_state": None,
        "task_state": {"dictionary_symbols": list(symbols), "classification": dict(classification or {})},
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
    }


def write_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write it aside, then rename: the file is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_whole(path, partial(torch.save, dict(checkpoint)))


def _configuration(model: Mapping[str, Any]) -> dict[str, Any]:
    tokens = min(DEFAULT_TOKENS_PER_SAMPLE, model["max_positions"])
    parts = {
        "model": {"_name": "distil_encoder", **model},
        "task": {"_name": "distil_masked_lm", "data": ".", "tokens_per_sample": tokens},
        "criterion": {"_name": "masked_lm"},
    }
    cfg = OmegaConf.merge(OmegaConf.structured(FairseqConfig), parts)
    add_defaults(cfg)
    return OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)


def _require_shapes(weights: Mapping[str, Tensor], sizes: Mapping[str, Any], vocabulary_size: int) -> None:
    try:
        config = EncoderConfig(
            vocabulary_size=vocabulary_size,
            padding_index=1,
            layers=sizes["encoder_layers"],
            width=sizes["encoder_embed_dim"],
            feed_forward_width=sizes["encoder_ffn_embed_dim"],
            attention_heads=sizes["encoder_attention_heads"],
            max_positions=sizes["max_positions"],
            layer_norm_epsilon=sizes["layer_norm_eps"],
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    require_shapes(weights, config)
