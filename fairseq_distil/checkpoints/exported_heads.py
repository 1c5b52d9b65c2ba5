"""What an encoder is exported as: the kinds of heads, and which of a checkpoint's heads is meant."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from fairseq_distil.checkpoints.key_maps import CLASSIFICATION, CLASSIFICATION_HEAD, MASKED_LM, QUESTION_ANSWERING
from fairseq_distil.errors import UserError
from fairseq_distil.models import DistilEncoderModel

ENCODER = "encoder"
"""The kind of an encoder that is exported without a head."""


@dataclass(frozen=True)
class HeadKind:
    """How transformers knows a kind of head.

    Args:
        class_suffix: what the names of its classes end with; nothing for a bare encoder
        outputs: names of its outputs, which ONNX files have as well
        pipeline_tag: its task, for the model card
    """

    class_suffix: str
    outputs: tuple[str, ...]
    pipeline_tag: str


HEAD_KINDS = {
    MASKED_LM: HeadKind("ForMaskedLM", ("logits",), "fill-mask"),
    CLASSIFICATION: HeadKind("ForSequenceClassification", ("logits",), "text-classification"),
    QUESTION_ANSWERING: HeadKind("ForQuestionAnswering", ("start_logits", "end_logits"), "question-answering"),
    ENCODER: HeadKind("", ("last_hidden_state",), "feature-extraction"),
}


class ExportedHead(NamedTuple):
    """One of a checkpoint's heads, or ``encoder`` for none of them."""

    kind: str
    """a key of ``HEAD_KINDS``"""
    name: str
    """what ``--head`` calls it: its kind, or the name of a classification head"""


def choose_head(model: DistilEncoderModel, name: str | None = None) -> ExportedHead:
    """The head called ``name``; without a name the only fine-tuned one, or else the masked-LM head, or else none.

    Raises:
        UserError: there is no such head
    """
    fine_tuned = [ExportedHead(CLASSIFICATION, head) for head in model.classification_heads]
    if model.question_answering_head is not None:
        fine_tuned.append(ExportedHead(QUESTION_ANSWERING, QUESTION_ANSWERING))
    pretrained = [ExportedHead(MASKED_LM, MASKED_LM)] if model.masked_lm_head is not None else []
    heads = [*(fine_tuned if len(fine_tuned) == 1 else []), *pretrained, ExportedHead(ENCODER, ENCODER), *fine_tuned]
    if name is None:
        return heads[0]
    for head in heads:
        if head.name == name:
            return head
    known = ", ".join(dict.fromkeys(head.name for head in heads))
    raise UserError(f"it has no head {name!r}; give --head one of {known}")


def head_weights(model: DistilEncoderModel, head: ExportedHead) -> dict[str, Tensor]:
    """State dict of the encoder and this head alone, a classification head under the name that the key maps give it."""
    prefix, target = {
        MASKED_LM: ("masked_lm_head.", "masked_lm_head."),
        CLASSIFICATION: (f"classification_heads.{head.name}.", f"classification_heads.{CLASSIFICATION_HEAD}."),
        QUESTION_ANSWERING: ("question_answering_head.", "question_answering_head."),
        ENCODER: ("encoder.", "encoder."),
    }[head.kind]
    weights = model.state_dict()
    encoder = {name: tensor for name, tensor in weights.items() if name.startswith("encoder.")}
    own = {name: tensor for name, tensor in weights.items() if name.startswith(prefix)}
    return encoder | {target + name.removeprefix(prefix): tensor for name, tensor in own.items()}


def head_outputs(model: DistilEncoderModel, head: ExportedHead, tokens: Tensor) -> dict[str, Tensor]:
    """What the head gives for ids ``(batch, length)``, by the names of ``HeadKind.outputs``.

    Logits ``(batch, length, vocab)`` or ``(batch, classes)``, start and end logits ``(batch, length)`` each, or hidden
    states ``(batch, length, width)``.
    """
    arguments = {
        MASKED_LM: {},
        CLASSIFICATION: {"classification_head_name": head.name},
        QUESTION_ANSWERING: {"answer_logits": True},
        ENCODER: {"features_only": True},
    }[head.kind]
    output = model(tokens, **arguments)[0]
    outputs = output.unbind(-1) if head.kind == QUESTION_ANSWERING else (output,)
    return dict(zip(HEAD_KINDS[head.kind].outputs, outputs, strict=True))
