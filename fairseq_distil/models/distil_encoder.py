"""The encoder, registered as ``distil_encoder``."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

import torch
from fairseq import hub_utils
from fairseq.data import Dictionary
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model
from fairseq.tasks import FairseqTask
from torch import Tensor

from fairseq_distil.errors import UserError
from fairseq_distil.hub_interface import DistilEncoderHubInterface
from fairseq_distil.losses import VocabularyProjection
from fairseq_distil.modules import (
    ACTIVATIONS,
    EncoderConfig,
    MaskedLMHead,
    TransformerEncoder,
    initialize_bert_parameters,
)

BASE_LAYERS, BASE_WIDTH, BASE_HEADS = 12, 768, 12


@dataclass
class DistilEncoderConfig(FairseqDataclass):
    """Sizes that are left out are BERT-base's, or the architecture's."""

    encoder_layers: Optional[int] = field(default=None, metadata={"help": "transformer layers"})
    encoder_embed_dim: Optional[int] = field(default=None, metadata={"help": "width of the hidden states"})
    encoder_ffn_embed_dim: Optional[int] = field(
        default=None, metadata={"help": "inner width of the feed-forward blocks (default: 4 x the hidden states')"}
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


@register_model("distil_encoder", dataclass=DistilEncoderConfig)
class DistilEncoderModel(BaseFairseqModel):
    """A BERT-family encoder with a masked-LM head: learned positions, post-LayerNorm, no token types, no pooler.

    Trains with fairseq's own ``masked_lm`` criterion as well as with ``distillation``.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = TransformerEncoder(config)
        self.masked_lm_head = MaskedLMHead(config)
        initialize_bert_parameters(self, config.initializer_range)

    @classmethod
    def build_model(cls, cfg: DistilEncoderConfig, task: FairseqTask) -> "DistilEncoderModel":
        return cls(encoder_config(cfg, task.source_dictionary))

    @classmethod
    def from_pretrained(
        cls,
        model_name_or_path: str,
        checkpoint_file: str = "checkpoint_best.pt",
        data_name_or_path: str = ".",
        **kwargs: Any,
    ) -> DistilEncoderHubInterface:
        """Load a trained encoder, or the student of a ``teacher_student`` without its teacher.

        Args:
            model_name_or_path: directory of the checkpoint
            checkpoint_file: its name there
            data_name_or_path: directory of ``dict.txt`` and the tokeniser's files; relative to the first if it begins
                with a dot
            kwargs: settings to change, by the names of their fields
        """
        loaded = hub_utils.from_pretrained(
            model_name_or_path, checkpoint_file, data_name_or_path, **{"teacher": None, **kwargs}
        )
        return DistilEncoderHubInterface(loaded["task"], loaded["models"][0])

    def max_positions(self) -> int:
        return self.config.max_positions

    def set_epoch(self, epoch: int) -> None:
        """fairseq's masked-LM task calls this; nothing here depends on the epoch."""

    def forward(
        self,
        src_tokens: Tensor,
        src_lengths: Optional[Tensor] = None,
        has_padding: Optional[bool] = None,
        features_only: bool = False,
        masked_tokens: Optional[Tensor] = None,
        return_all_hiddens: bool = False,
        **_: Any,
    ) -> Tuple[Tensor, Dict[str, Optional[List[Tensor]]]]:
        """Encode a batch.

        Args:
            src_tokens: ids ``(batch, length)``, padded on the right
            src_lengths: not needed; fairseq passes it
            has_padding: whether any sequence is padded, where that is known without asking the device
            features_only: return the last hidden states instead of logits
            masked_tokens: boolean ``(batch, length)``; logits of these tokens alone are computed
            return_all_hiddens: whether to return the hidden states of every layer

        Returns:
            logits ``(batch, length, vocab)``, or ``(masked tokens, vocab)``, or the last hidden states
            ``(batch, length, width)``; and ``inner_states``, the embeddings' and every layer's output.
        """
        hidden_states = self.encoder(src_tokens, self._padding_mask(src_tokens, has_padding))
        extra = {"inner_states": hidden_states if return_all_hiddens else None}
        hidden = hidden_states[-1]
        if features_only:
            return hidden, extra
        if masked_tokens is not None:
            hidden = hidden[masked_tokens]
        return self.masked_lm_head(hidden, self.encoder.embeddings.word_embeddings.weight), extra

    def vocabulary_projection(self, hidden: Tensor) -> VocabularyProjection:
        """What the vocabulary losses read instead of logits, for hidden states ``(rows, width)``."""
        return VocabularyProjection(
            self.masked_lm_head.transform(hidden),
            self.encoder.embeddings.word_embeddings.weight,
            self.masked_lm_head.bias,
        )

    def _padding_mask(self, tokens: Tensor, has_padding: Optional[bool]) -> Optional[Tensor]:
        if has_padding is False:
            return None
        padding_mask = tokens.eq(self.config.padding_index)
        if has_padding is None and tokens.device.type == "cpu" and not padding_mask.any():
            return None
        return padding_mask

    def get_normalized_probs(
        self, net_output: Tuple[Tensor, Any], log_probs: bool, sample: Optional[Dict[str, Any]] = None
    ) -> Tensor:
        """Probabilities, or their logarithms, of the logits in ``net_output``, in float32."""
        logits = net_output[0].float()
        return torch.log_softmax(logits, -1) if log_probs else torch.softmax(logits, -1)
