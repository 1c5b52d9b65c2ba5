"""A checkpoint with all that its export needs, loaded without the task that it was trained in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary
from torch import Tensor

from fairseq_distil.checkpoints.export_tokenizer import id_of_piece
from fairseq_distil.checkpoints.exported_heads import ExportedHead, choose_head, head_outputs, head_weights
from fairseq_distil.checkpoints.import_checkpoint import read_dictionary
from fairseq_distil.checkpoints.key_maps import CLASSIFICATION
from fairseq_distil.data.tokenizers import Tokenizer, load_tokenizer
from fairseq_distil.errors import UserError, naming
from fairseq_distil.hub_interface import symbols_around_masks
from fairseq_distil.models import DistilEncoderModel
from fairseq_distil.models.encoder_loading import read_encoder


@dataclass(frozen=True)
class Exportable:
    """An encoder in evaluation mode, one of its heads, its tokeniser and its dictionary."""

    model: DistilEncoderModel
    head: ExportedHead
    tokenizer: Tokenizer
    dictionary: Dictionary
    labels: tuple[str, ...] = ()
    """names of the classes, or none"""
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    """what fairseq loaded"""

    @cached_property
    def id_of_piece(self) -> dict[str, int]:
        """See :func:`~fairseq_distil.checkpoints.export_tokenizer.id_of_piece`."""
        return id_of_piece(self.tokenizer, self.dictionary)

    @property
    def ids(self) -> list[int]:
        """Our dictionary's id of each row of the exported embeddings."""
        return list(self.id_of_piece.values())

    @property
    def weights(self) -> dict[str, Tensor]:
        """State dict of the encoder and its head, see :func:`~.exported_heads.head_weights`."""
        return head_weights(self.model, self.head)

    @property
    def class_names(self) -> list[str]:
        """Names of the classes of a classification head; empty for other heads."""
        if self.head.kind != CLASSIFICATION:
            return []
        classes = self.model.classification_heads[self.head.name].output.out_features
        known = self._classification.get("labels") or []
        return list(self.labels) or (known if len(known) == classes else [f"LABEL_{index}" for index in range(classes)])

    @property
    def problem_type(self) -> str:
        """What transformers calls the problem that a classification head solves."""
        usual = "regression" if len(self.class_names) == 1 else "single_label_classification"
        return self._classification.get("problem_type") or usual

    @property
    def _classification(self) -> Mapping[str, Any]:
        return (self.checkpoint.get("task_state") or {}).get("classification") or {}

    @property
    def trained_as(self) -> str:
        """Name of the model that the checkpoint was trained as."""
        return str(((self.checkpoint.get("cfg") or {}).get("model") or {}).get("_name", ""))

    def symbols(self, sentence: str) -> list[str]:
        """Symbols of a sentence, ``<mask>`` in it as one of them."""
        return symbols_around_masks(self.tokenizer, sentence)

    @torch.inference_mode()
    def outputs(self, tokens: Tensor) -> dict[str, Tensor]:
        """See :func:`~fairseq_distil.checkpoints.exported_heads.head_outputs`."""
        return head_outputs(self.model, self.head, tokens)


def load_exportable(path: Path, data: Path, head: str | None = None, labels: Sequence[str] | None = None) -> Exportable:
    """Read a checkpoint of any task.

    Args:
        path: of a ``distil_encoder`` or a ``teacher_student``, fine-tuned or not
        data: directory with the ``dict.txt`` and the tokeniser that it was pre-trained with
        head: name of the head, see :func:`~fairseq_distil.checkpoints.exported_heads.choose_head`
        labels: names of the classes of a classification head, in the order of its outputs

    Raises:
        UserError: a file is missing or damaged, the files do not belong together, or there is no such head
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    tokenizer, dictionary = load_tokenizer(data), read_dictionary(data / "dict.txt")
    stored = read_encoder(str(path), dictionary, str(data), role="checkpoint")
    with naming(path):
        model = DistilEncoderModel.restored(stored.config, stored.weights).eval()
        chosen = choose_head(model, head)
        exportable = Exportable(model, chosen, tokenizer, dictionary, checkpoint=stored.checkpoint)
        return exportable if labels is None else replace(exportable, labels=_checked_labels(labels, exportable))


def _checked_labels(labels: Sequence[str], exportable: Exportable) -> tuple[str, ...]:
    head, classes = exportable.head, len(exportable.class_names)
    if head.kind != CLASSIFICATION:
        raise UserError(f"--labels names classes, but what is exported is {head.name}, which has none; leave it out")
    if len(labels) != classes or len(set(labels)) != classes or not all(labels):
        raise UserError(f"--labels is {','.join(labels)}; head {head.name} has {classes} classes: name each once")
    return tuple(labels)
