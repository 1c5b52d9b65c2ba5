"""The encoder, registered as ``distil_encoder``."""

import os
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from fairseq import checkpoint_utils
from fairseq.models import BaseFairseqModel, register_model
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from fairseq_distil.checkpoints.weight_shapes import require_head_name
from fairseq_distil.errors import UserError, naming
from fairseq_distil.hub_interface import DistilEncoderHubInterface
from fairseq_distil.losses import VocabularyProjection
from fairseq_distil.modules import (
    ClassificationHead,
    EncoderConfig,
    MaskedLMHead,
    QuestionAnsweringHead,
    TransformerEncoder,
    initialize_bert_parameters,
)

from .data_memory import remember_data
from .distil_encoder_config import DistilEncoderConfig, encoder_config, encoder_sizes, remember_in_checkpoints
from .encoder_loading import require_known_task
from .pretrained_encoder import has_masked_lm_head, read_pretrained, restore, start_from


@register_model("distil_encoder", dataclass=DistilEncoderConfig)
class DistilEncoderModel(BaseFairseqModel):
    """A BERT-family encoder with a masked-LM head: learned positions, post-LayerNorm, no token types, no pooler.

    Trains with fairseq's own ``masked_lm`` criterion as well as with ``distillation``, and fine-tunes with its
    ``sentence_prediction``.

    Args:
        config: the encoder's shape
        with_masked_lm_head: whether it has a masked-LM head
    """

    def __init__(self, config: EncoderConfig, with_masked_lm_head: bool = True) -> None:
        super().__init__()
        self.config = config
        self.encoder = TransformerEncoder(config)
        self.masked_lm_head = MaskedLMHead(config) if with_masked_lm_head else None
        self.classification_heads = nn.ModuleDict()
        self.question_answering_head: Optional[QuestionAnsweringHead] = None
        self.encoder_is_frozen = False
        self.num_updates = 0
        initialize_bert_parameters(self, config.initializer_range)

    @classmethod
    def build_model(cls, cfg: DistilEncoderConfig, task: FairseqTask) -> "DistilEncoderModel":
        """Build it from its sizes, or from what ``cfg.pretrained`` holds.

        Raises:
            UserError: impossible or contradictory settings, or an encoder that cannot be read or does not fit them
        """
        if cfg.pretrained:
            stored = read_pretrained(cfg, task)
            has_head = not cfg.no_masked_lm_head and (cfg.fit_mlm_head or has_masked_lm_head(stored.weights))
            model = cls(stored.config, has_head)
            with naming(f"pretrained {cfg.pretrained}"):
                start_from(model, stored.weights)
        else:
            if cfg.fit_mlm_head:
                raise UserError("--fit-mlm-head (model.fit_mlm_head) needs --pretrained: the encoder of the head")
            model = cls(encoder_config(cfg, task.source_dictionary), not cfg.no_masked_lm_head)
        if cfg.fit_mlm_head:
            model.freeze_encoder()
        model.finish(cfg)
        remember_data(task)
        return model

    @classmethod
    def restored(cls, config: EncoderConfig, weights: Dict[str, Tensor]) -> "DistilEncoderModel":
        """The encoder of a state dict, with the heads that it holds.

        Raises:
            UserError: the weights do not fit ``config``
        """
        model = cls(config, has_masked_lm_head(weights))
        restore(model, weights)
        return model

    def finish(self, cfg: DistilEncoderConfig) -> None:
        """What comes last in building: let checkpoints tell the sizes, and compile."""
        has_no_head = self.masked_lm_head is None
        sizes = encoder_sizes(self.config)
        remember_in_checkpoints(cfg, {**sizes, "pretrained": None, "no_masked_lm_head": has_no_head})
        if cfg.compile:
            self.compile_encoder()

    def compile_encoder(self) -> None:
        """Compile the encoder's forward for each length that it meets; names in the state dict stay as they are.

        torch compiles a few lengths, by default 8, and computes others as if nothing had been compiled.
        """
        self.encoder.compile(dynamic=False)

    def freeze_encoder(self) -> None:
        """Keep all but the heads as they are, dropout of the encoder included."""
        self.encoder_is_frozen = True
        self.encoder.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "DistilEncoderModel":
        super().train(mode)
        if self.encoder_is_frozen:
            self.encoder.eval()
        return self

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

        Raises:
            UserError: the directory is missing, or the checkpoint damaged, unsafe or that of another model or task
        """
        if not os.path.isdir(model_name_or_path):  # fairseq would fetch it, or unpack it
            raise UserError(f"{model_name_or_path}: no such directory; give that of the checkpoint")
        if data_name_or_path.startswith("."):
            data_name_or_path = os.path.abspath(os.path.join(model_name_or_path, data_name_or_path))
        settings = {"teacher": None, "pretrained": None, "mask_prob_schedule": None, "data": data_name_or_path}
        path = os.path.join(model_name_or_path, checkpoint_file)
        if not os.path.isfile(path):
            raise UserError(f"{path}: no such file; give the name of a checkpoint in that directory")
        state = checkpoint_utils.load_checkpoint_to_cpu(path, settings | kwargs)
        require_known_task(path, state)
        (model, *_), _, task = checkpoint_utils.load_model_ensemble_and_task([path], state=state)
        return DistilEncoderHubInterface(task, model)

    def register_classification_head(
        self, name: str, num_classes: int, inner_dim: Optional[int] = None, **_: Any
    ) -> None:
        """Add a head for sentences, or replace the one of that name; fairseq's fine-tuning task calls this.

        Raises:
            UserError: a head cannot be called this
        """
        require_head_name(name)
        head = ClassificationHead(self.config.width, inner_dim or self.config.width, num_classes)
        self.classification_heads[name] = self._initialized(head)

    def register_question_answering_head(self) -> None:
        """Add a head that marks where an answer begins and ends."""
        self.question_answering_head = self._initialized(QuestionAnsweringHead(self.config.width))

    def _initialized(self, head: nn.Module) -> nn.Module:
        initialize_bert_parameters(head, self.config.initializer_range)
        return head.train(self.training)

    def upgrade_state_dict_named(self, state_dict: Dict[str, Tensor], name: str) -> None:
        """Make a checkpoint's heads this model's: those that only one of the two has are dropped, or stay as they are.

        So a pre-trained checkpoint is loaded for fine-tuning, and a fine-tuned one as an encoder.
        """
        prefix = f"{name}." if name else ""
        current = self.state_dict(prefix=prefix)
        optional = tuple(f"{prefix}{head}" for head in ("classification_heads.", "question_answering_head."))
        if self.masked_lm_head is None:
            optional += (f"{prefix}masked_lm_head.",)
        for key in [key for key in state_dict if key.startswith(optional) and key not in current]:
            del state_dict[key]
        for key, tensor in current.items():
            if key.startswith(optional):
                state_dict.setdefault(key, tensor)

    def load_state_dict(self, state_dict: Dict[str, Tensor], *arguments: Any, **settings: Any) -> Any:
        """Load a checkpoint's weights; see :meth:`fairseq.models.BaseFairseqModel.load_state_dict`.

        Raises:
            UserError: they are those of another encoder
        """
        try:
            return super().load_state_dict(state_dict, *arguments, **settings)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise UserError(
                f"the weights to load are not those of the encoder that the settings describe: {reason} "
                "Give its sizes, or another --save-dir or --restore-file"
            ) from error

    def max_positions(self) -> int:
        return self.config.max_positions

    def set_num_updates(self, num_updates: int) -> None:
        """fairseq's tasks call this before each update; schedules of the criterion ask for it."""
        super().set_num_updates(num_updates)
        self.num_updates = num_updates

    def set_epoch(self, epoch: int) -> None:
        """fairseq's masked-LM task calls this; nothing here depends on the epoch."""

    def forward(
        self,
        src_tokens: Tensor,
        src_lengths: Optional[Tensor] = None,
        has_padding: Optional[bool] = None,
        token_count: Optional[int] = None,
        features_only: bool = False,
        masked_tokens: Optional[Tensor] = None,
        return_all_hiddens: bool = False,
        classification_head_name: Optional[str] = None,
        answer_logits: bool = False,
        layers: Optional[Sequence[int]] = None,
        **_: Any,
    ) -> Tuple[Tensor, Dict[str, Optional[List[Tensor]]]]:
        """Encode a batch.

        Args:
            src_tokens: ids ``(batch, length)``, padded on the right
            src_lengths: not needed; fairseq passes it
            has_padding: whether any sequence is padded, where that is known without asking the device
            token_count: tokens that are no padding, likewise
            features_only: return the last hidden states instead of logits
            masked_tokens: boolean ``(batch, length)``; logits of these tokens alone are computed
            return_all_hiddens: whether to return the hidden states of every layer
            classification_head_name: return the logits of this classification head
            answer_logits: return the logits of the question-answering head
            layers: return the hidden states of these layers, counted from 1, and 0 the embeddings', in rising order;
                those above the last are not computed, and what the others return is of the last

        Returns:
            logits ``(batch, length, vocab)``, or ``(masked tokens, vocab)``, or the last hidden states
            ``(batch, length, width)``, or ``(batch, classes)``, or ``(batch, length, 2)``; and ``inner_states``, the
            output of ``layers``, or with ``return_all_hiddens`` the embeddings' and every layer's.

        Raises:
            UserError: logits are asked of a masked-LM head that the encoder does not have
        """
        wanted = None if return_all_hiddens else layers or (self.config.layers,)
        hidden_states = self.encoder(src_tokens, self.padding_mask(src_tokens, has_padding), wanted, token_count)
        extra = {"inner_states": hidden_states if return_all_hiddens or layers else None}
        hidden = hidden_states[-1]
        if classification_head_name is not None:
            return self.classification_heads[classification_head_name](hidden), extra
        if answer_logits:
            return self.question_answering_head(hidden), extra
        if features_only:
            return hidden, extra
        if masked_tokens is not None:
            hidden = hidden[masked_tokens]
        return self._required_head()(hidden, self.encoder.embeddings.word_embeddings.weight), extra

    def vocabulary_projection(self, hidden: Tensor) -> VocabularyProjection:
        """What the vocabulary losses read instead of logits, for hidden states ``(rows, width)``.

        Raises:
            UserError: the encoder has no masked-LM head
        """
        head = self._required_head()
        return VocabularyProjection(head.transform(hidden), self.encoder.embeddings.word_embeddings.weight, head.bias)

    def _required_head(self) -> MaskedLMHead:
        if self.masked_lm_head is None:
            raise UserError("the encoder has no masked-LM head, so that it predicts no tokens; see --fit-mlm-head")
        return self.masked_lm_head

    def padding_mask(self, tokens: Tensor, has_padding: Optional[bool] = None) -> Optional[Tensor]:
        """Boolean ``(batch, length)``, true at padding; None where it is known that there is none."""
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
