"""Starting an encoder from another's weights."""

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Dict

from fairseq import utils
from fairseq.tasks import FairseqTask
from torch import Tensor

from fairseq_distil.checkpoints.weight_shapes import classification_heads
from fairseq_distil.errors import UserError

from .distil_encoder_config import DistilEncoderConfig, encoder_sizes
from .encoder_loading import StoredEncoder, read_encoder

if TYPE_CHECKING:
    from .distil_encoder import DistilEncoderModel

logger = logging.getLogger(__name__)
POSITIONS = "encoder.embeddings.position_embeddings.weight"
MASKED_LM_HEAD = "masked_lm_head."


def has_masked_lm_head(weights: Dict[str, Tensor]) -> bool:
    """Whether a state dict has a masked-LM head."""
    return any(name.startswith(MASKED_LM_HEAD) for name in weights)


def read_pretrained(cfg: DistilEncoderConfig, task: FairseqTask) -> StoredEncoder:
    """Read ``cfg.pretrained``; its sizes are the model's, with ``cfg``'s dropout and number of positions.

    More positions than it has are not made where the task sets them, and a warning: fairseq's task for sentences always
    asks for some number of its own.

    Raises:
        UserError: it cannot be read, or ``cfg`` asks for another size
    """
    stored = read_encoder(cfg.pretrained, task.source_dictionary, utils.split_paths(task.cfg.data)[0])
    sizes = encoder_sizes(stored.config)
    for name, size in sizes.items():
        wanted = cfg[name]
        if wanted in (None, size) or (name == "max_positions" and wanted > 0):
            continue
        raise UserError(
            f"pretrained {cfg.pretrained}: its {name} is {size}, but {wanted} is asked for; leave the sizes out "
            f"(--arch distil_encoder), or give --{name.replace('_', '-')} {size}"
        )
    config = replace(
        stored.config,
        max_positions=_positions(cfg, task, stored.config.max_positions),
        dropout=cfg.dropout,
        attention_dropout=cfg.attention_dropout,
    )
    return stored._replace(config=config)


def _positions(cfg: DistilEncoderConfig, task: FairseqTask, stored: int) -> int:
    """Of the model, whose stored encoder has ``stored``."""
    if cfg.max_positions is None or cfg.max_positions <= stored:
        return cfg.max_positions or stored
    if "max_positions" in task.cfg:
        logger.warning(
            "pretrained %s: has %d positions, fewer than task.max_positions %d",
            cfg.pretrained,
            stored,
            cfg.max_positions,
        )
        return stored
    logger.info("positions from %d on start as repeats of the %d before", stored, stored)
    return cfg.max_positions


def start_from(model: "DistilEncoderModel", weights: Dict[str, Tensor]) -> None:
    """Take the encoder over, and the masked-LM head where both have one; heads of fine-tuning are left out.

    Positions that the weights lack start as repeats of those that they have, which are better than random ones: most of
    what a layer has learned about them is about neighbours (Beltagy et al., 2020).
    """
    shared = {name: tensor for name, tensor in weights.items() if name.startswith(("encoder.", MASKED_LM_HEAD))}
    if POSITIONS in shared:
        wanted, held = model.config.max_positions, len(shared[POSITIONS])
        shared[POSITIONS] = shared[POSITIONS].repeat(-(-wanted // held), 1)[:wanted]
    if not has_masked_lm_head(weights):
        own = model.state_dict()
        shared |= {name: tensor for name, tensor in own.items() if name.startswith(MASKED_LM_HEAD)}
    _load(model, shared)


def restore(model: "DistilEncoderModel", weights: Dict[str, Tensor]) -> None:
    """Load a whole state dict, and make the task heads that it holds.

    Raises:
        UserError: the weights do not fit the model
    """
    for head, (inner_width, classes) in classification_heads(weights).items():
        model.register_classification_head(head, classes, inner_width)
    if "question_answering_head.output.weight" in weights:
        model.register_question_answering_head()
    _load(model, weights)


def _load(model: "DistilEncoderModel", weights: Dict[str, Tensor]) -> None:
    try:
        model.load_state_dict(weights, strict=True)
    except UserError as error:
        reason = str(error.__cause__).splitlines()[-1].strip()
        raise UserError(f"its weights do not fit its own configuration: {reason}") from error
