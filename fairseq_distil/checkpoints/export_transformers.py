"""An encoder of this project as the configuration, the weights and the tokeniser that transformers loads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fairseq_distil.checkpoints.conversion import to_their_weights
from fairseq_distil.checkpoints.export_check import Batch, require_same_outputs
from fairseq_distil.checkpoints.export_tokenizer import to_transformers_tokenizer
from fairseq_distil.checkpoints.exportable import Exportable
from fairseq_distil.checkpoints.exported_heads import ENCODER, HEAD_KINDS
from fairseq_distil.checkpoints.families import BERT_FAMILY, DISTILBERT_FAMILY, ROBERTA_FAMILY, Family
from fairseq_distil.checkpoints.key_maps import CLASSIFICATION, QUESTION_ANSWERING
from fairseq_distil.data.tokenizers import WordPieceTokenizer
from fairseq_distil.data.tokenizers.wordpiece import VOCABULARY_FILE
from fairseq_distil.errors import UserError
from fairseq_distil.models.distil_encoder_config import encoder_sizes

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Architecture:
    """An architecture of transformers that an encoder can be exported as.

    Args:
        class_prefix: what the names of its classes begin with
        family: its names and sizes
        bare_options: arguments that keep its bare encoder from having more than the encoder
    """

    class_prefix: str
    family: Family
    bare_options: Mapping[str, Any] = field(default_factory=dict)

    def can_express(self, exportable: Exportable) -> bool:
        """Whether it has the encoder's sizes and its head."""
        try:
            self.sizes(exportable, padding_row=0)
        except UserError:
            return False
        return True

    def sizes(self, exportable: Exportable, padding_row: int) -> dict[str, Any]:
        """The fields of ``config.json`` for the encoder's sizes.

        Raises:
            UserError: the architecture has other heads or other constants
        """
        kind, config = exportable.head.kind, exportable.model.config
        if kind != ENCODER and kind not in self.family.key_map.heads:
            raise UserError(
                f"its head for {kind} is built otherwise than {exportable.head.name}, which is DistilBERT's; "
                "give --architecture distilbert"
            )
        if kind == CLASSIFICATION:
            inner_width = exportable.model.classification_heads[exportable.head.name].dense.out_features
            if inner_width != config.width:
                raise UserError(
                    f"head {exportable.head.name} has an inner width of {inner_width}, and this architecture has the "
                    f"encoder's {config.width} only; fine-tune with a head of that width"
                )
        return self.family.config(encoder_sizes(config), padding_row)


NO_POOLER = {"add_pooling_layer": False}
ARCHITECTURES = {
    "distilbert": Architecture("DistilBert", DISTILBERT_FAMILY),
    "bert": Architecture("Bert", BERT_FAMILY, NO_POOLER),
    "roberta": Architecture("Roberta", ROBERTA_FAMILY, NO_POOLER),
}


def default_architecture(exportable: Exportable) -> str:
    """What users expect: DistilBERT for students and fine-tuned encoders, BERT for other encoders and for constants
    that DistilBERT does not have, such as RoBERTa's epsilon.
    """
    is_fine_tuned = exportable.head.kind in (CLASSIFICATION, QUESTION_ANSWERING)
    if exportable.trained_as.startswith(("teacher_student", "distilbert")) or is_fine_tuned:
        has_no_choice = exportable.head.kind == CLASSIFICATION
        if has_no_choice or ARCHITECTURES["distilbert"].can_express(exportable):
            return "distilbert"
    return "bert"


def their_tokenizer(exportable: Exportable) -> "PreTrainedTokenizerFast":
    """The tokeniser; its ids are the rows of :attr:`Exportable.ids`.

    Raises:
        UserError: it cannot be expressed
    """
    max_positions = exportable.model.max_positions()
    return to_transformers_tokenizer(exportable.tokenizer, exportable.id_of_piece, max_positions)


def save_tokenizer(exportable: Exportable, tokenizer: "PreTrainedTokenizerFast", directory: Path) -> None:
    """Write its files, for WordPiece also the vocabulary by itself."""
    tokenizer.save_pretrained(directory)
    if isinstance(exportable.tokenizer, WordPieceTokenizer):
        (directory / VOCABULARY_FILE).write_bytes(exportable.tokenizer.files[VOCABULARY_FILE])


def their_config(exportable: Exportable, tokenizer: "PreTrainedTokenizerFast", architecture: str) -> "PreTrainedConfig":
    """The content of ``config.json``.

    Raises:
        UserError: the architecture cannot express the encoder or its head
    """
    from transformers import AutoConfig

    sizes = ARCHITECTURES[architecture].sizes(exportable, tokenizer.pad_token_id)
    names = ("pad_token_id", "bos_token_id", "eos_token_id")
    tokens = {name: getattr(tokenizer, name) for name in names}
    return AutoConfig.for_model(
        architecture,
        vocab_size=len(exportable.ids),
        architectures=[class_name(exportable, architecture)],
        **sizes,
        **tokens,
        **_classes(exportable),
    )


def class_name(exportable: Exportable, architecture: str) -> str:
    """The class of transformers that the export is for."""
    suffix = HEAD_KINDS[exportable.head.kind].class_suffix
    return ARCHITECTURES[architecture].class_prefix + (suffix or "Model")


def _classes(exportable: Exportable) -> dict[str, Any]:
    if exportable.head.kind != CLASSIFICATION:
        return {}
    labels = exportable.class_names
    return {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
        "problem_type": exportable.problem_type,
    }


def their_model(exportable: Exportable, config: "PreTrainedConfig", architecture: str) -> "PreTrainedModel":
    """The model, with the encoder's weights."""
    import transformers

    family, is_bare = ARCHITECTURES[architecture].family, exportable.head.kind == ENCODER
    options = ARCHITECTURES[architecture].bare_options if is_bare else {}
    model = getattr(transformers, class_name(exportable, architecture))(config, **options)
    first_position = family.first_position({"pad_token_id": config.pad_token_id})
    layers = exportable.model.config.layers
    weights = to_their_weights(exportable.weights, family.key_map, layers, exportable.ids, first_position)
    if is_bare:
        weights = {name.removeprefix(family.key_map.body): tensor for name, tensor in weights.items()}
    state = model.state_dict()
    missing = state.keys() - weights.keys()
    weights |= {name: torch.zeros_like(state[name]) for name in missing if _is_token_types(name, family)}
    problems = model.load_state_dict(weights, strict=False)
    if problems.unexpected_keys or set(problems.missing_keys) - set(family.key_map.tied):
        raise RuntimeError(f"the key map does not fit this version of transformers: {problems}")
    return model.eval()


def _is_token_types(name: str, family: Family) -> bool:
    return family.key_map.token_types in (name, family.key_map.body + name)


@torch.inference_mode()
def check_transformers(directory: Path, exportable: Exportable, architecture: str, batch: Batch) -> float:
    """Load what was written with transformers, and compare.

    Returns:
        the largest difference of an output

    Raises:
        UserError: outputs differ
    """
    import transformers

    is_bare = exportable.head.kind == ENCODER
    options = ARCHITECTURES[architecture].bare_options if is_bare else {}
    loader = getattr(transformers, f"AutoModel{HEAD_KINDS[exportable.head.kind].class_suffix}")
    model = loader.from_pretrained(directory, local_files_only=True, **options).eval()
    return require_same_outputs("transformers", dict(model(**batch.inputs)), exportable, batch)
