"""Settings of the encoder, and what a checkpoint must remember of them."""

from dataclasses import dataclass, field
from typing import Any, Dict, Optional

from fairseq.data import Dictionary
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import DictConfig, open_dict

from fairseq_distil.errors import UserError
from fairseq_distil.modules import ACTIVATIONS, EncoderConfig

BASE_LAYERS, BASE_WIDTH, BASE_HEADS = 12, 768, 12


@dataclass
class DistilEncoderConfig(FairseqDataclass):
    """Sizes that are left out are the pretrained encoder's, the architecture's, or BERT-base's."""

    encoder_layers: Optional[int] = field(default=None, metadata={"help": "transformer layers"})
    encoder_embed_dim: Optional[int] = field(default=None, metadata={"help": "width of the hidden states"})
    encoder_ffn_embed_dim: Optional[int] = field(
        default=None,
        metadata={
            "help": "inner width of the feed-forward blocks (default: 4 x the hidden states', or, of a student, in the "
            "teacher's proportion)"
        },
    )
    encoder_attention_heads: Optional[int] = field(default=None, metadata={"help": "attention heads of each layer"})
    max_positions: Optional[int] = field(
        default=None, metadata={"help": "longest sequence in tokens, specials included (default: 512)"}
    )
    activation_fn: Optional[ChoiceEnum(list(ACTIVATIONS))] = field(
        default=None, metadata={"help": "activation of the feed-forward blocks (default: gelu, the exact one)"}
    )
    layer_norm_eps: Optional[float] = field(
        default=None, metadata={"help": "epsilon of every LayerNorm (default: 1e-12, BERT's)"}
    )
    initializer_range: float = field(
        default=0.02,
        metadata={"help": "standard deviation of the first weights; narrow encoders learn faster with more"},
    )
    dropout: float = field(default=0.1, metadata={"help": "dropout probability of embeddings and feed-forward blocks"})
    attention_dropout: float = field(default=0.1, metadata={"help": "dropout probability of attention probabilities"})
    pretrained: Optional[str] = field(
        default=None,
        metadata={
            "help": "encoder to start from, which gives the sizes: a checkpoint of this plugin or of a fairseq roberta "
            "(dict.txt beside it), or a directory of transformers"
        },
    )
    no_masked_lm_head: bool = field(
        default=False, metadata={"help": "leave the masked-LM head out, as sentence encoders are published"}
    )
    fit_mlm_head: bool = field(
        default=False,
        metadata={
            "help": "train the masked-LM head alone, all else as --pretrained has it; makes a head where it lacks"
        },
    )
    compile: bool = field(
        default=False,
        metadata={"help": "compile the encoder with torch.compile, for samples of one length, or of a few"},
    )


def encoder_config(cfg: DistilEncoderConfig, dictionary: Dictionary) -> EncoderConfig:
    """The encoder's shape, with BERT-base's sizes where ``cfg`` has none.

    Raises:
        UserError: a size is impossible
    """
    width = _given(cfg.encoder_embed_dim, BASE_WIDTH)
    try:
        return EncoderConfig(
            vocabulary_size=len(dictionary),
            padding_index=dictionary.pad(),
            layers=_given(cfg.encoder_layers, BASE_LAYERS),
            width=width,
            feed_forward_width=_given(cfg.encoder_ffn_embed_dim, 4 * width),
            attention_heads=_given(cfg.encoder_attention_heads, BASE_HEADS),
            max_positions=_given(cfg.max_positions, 512),
            activation=str(_given(cfg.activation_fn, "gelu")),
            layer_norm_epsilon=_given(cfg.layer_norm_eps, 1e-12),
            initializer_range=cfg.initializer_range,
            dropout=cfg.dropout,
            attention_dropout=cfg.attention_dropout,
        )
    except ValueError as error:
        raise UserError(f"the encoder cannot be built: {error}") from error


def _given(value: Any, default: Any) -> Any:
    return default if value is None else value


def encoder_sizes(config: EncoderConfig) -> Dict[str, Any]:
    """The shape as the fields of :class:`DistilEncoderConfig` that define it."""
    return {
        "encoder_layers": config.layers,
        "encoder_embed_dim": config.width,
        "encoder_ffn_embed_dim": config.feed_forward_width,
        "encoder_attention_heads": config.attention_heads,
        "max_positions": config.max_positions,
        "activation_fn": config.activation,
        "layer_norm_eps": config.layer_norm_epsilon,
    }


def remember_in_checkpoints(cfg: DistilEncoderConfig, settings: Dict[str, Any]) -> None:
    """Put what was worked out while building the model into the configuration that checkpoints store.

    The model is built from a copy of that configuration, which knows its parent: the whole run's.
    """
    run_cfg = cfg._get_parent() if isinstance(cfg, DictConfig) else None
    if run_cfg is not None and isinstance(run_cfg.get("model"), DictConfig):
        with open_dict(run_cfg.model):
            run_cfg.model.update(settings)
        if isinstance(run_cfg.get("task"), DictConfig) and "max_positions" in run_cfg.task:
            # fairseq's task for sentences makes it the model's whenever it builds one.
            run_cfg.task.max_positions = settings["max_positions"]
