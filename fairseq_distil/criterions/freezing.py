"""What the objective does not read of a student, which then does not train."""

import logging
import re
from collections.abc import Iterable, Sequence
from itertools import chain

from fairseq.models import BaseFairseqModel
from torch import nn

from .terms import Term

logger = logging.getLogger(__name__)
PART = re.compile(r"encoder\.layers\.\d+|\w+")
"""Of a parameter's name: a layer, or a part of the model such as a head."""


def freeze_unread_parameters(terms: Sequence[Term], model: BaseFairseqModel) -> None:
    """Freeze the student's parameters that none of the terms reads, such as a head or layers above the last one read.

    They have no gradient, for which torch's wrapper for several workers would wait in vain, and where fairseq's puts
    one of 0 they would lose their weights to weight decay. What is frozen stays so, whatever else the model is fit to.
    """
    read = {id(parameter) for module in _read_modules(terms, model) for parameter in module.parameters()}
    parameters = model.named_parameters()
    unread = {name: one for name, one in parameters if one.requires_grad and id(one) not in read}
    for parameter in unread.values():
        parameter.requires_grad_(False)
    if unread:
        count = sum(parameter.numel() for parameter in unread.values())
        parts = ", ".join(dict.fromkeys(PART.match(name)[0] for name in unread))
        logger.info("no term reads %s parameters of the student, which stay as they are: %s", f"{count:,}", parts)


def _read_modules(terms: Sequence[Term], model: BaseFairseqModel) -> Iterable[nn.Module]:
    last_layer = max(layer for term in terms for layer in term.student_layers(model))
    encoder = model.encoder
    return chain([encoder.embeddings], encoder.layers[:last_layer], *(term.student_modules(model) for term in terms))
