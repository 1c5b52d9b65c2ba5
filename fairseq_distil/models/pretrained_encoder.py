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
    """Read ``cfg.pretrained``; its sizes are the model's, with ``cfg``'s dropout and possibly fewer positions.

    More positions than it has are a warning alone where the task sets them: fairseq's task for sentences always asks
    for some number of its own.

    Raises:
        UserError: it cannot be read, or ``cfg`` asks for another size
    """
    stored = read_encoder(cfg.pretrained, task.source_dictionary, utils.split_paths(task.cfg.data)[0])
    sizes = encoder_sizes(stored.config)
    for name, size in sizes.items():
        wanted = cfg[name]
        are_positions = name == "max_positions" and wanted is not None and wanted > 0
        if wanted in (None, size) or (are_positions and wanted < size):
            continue
        if are_positions and "max_positions" in task.cfg:
            logger.warning(
                "pretrained %s: has %d positions, fewer than task.max_positions %d", cfg.pretrained, size, wanted
            )
            continue
        raise UserError(
            f"pretrained {cfg.pretrained}: its {name} is {size}, but {wanted} is asked for; leave the sizes out "
            f"(--arch distil_encoder), or give --{name.replace('_', '-')} {size}"
        )
    config = replace(
        stored.config,
        max_positions=min(sizes["max_positions"], cfg.max_positions or sizes["max_positions"]),
        dropout=cfg.dropout,
        attention_dropout=cfg.attention_dropout,
    )
    return stored._replace(config=config)


def start_from(model: "DistilEncoderModel", weights: Dict[str, Tensor]) -> None:
    """Take the encoder over, and the masked-LM head where both have one; heads of fine-tuning are left out."""
    shared = {name: tensor for name, tensor in weights.items() if name.startswith(("encoder.", MASKED_LM_HEAD))}
    if POSITIONS in shared:
        shared[POSITIONS] = shared[POSITIONS][: model.config.max_positions]
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
