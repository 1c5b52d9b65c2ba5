"""What the objective does not read of a student, which then does not train."""

import logging
from collections.abc import Iterable, Sequence
from itertools import chain

from fairseq.models import BaseFairseqModel
from torch import nn

from .terms import Term

logger = logging.getLogger(__name__)


def freeze_unread_parameters(terms: Sequence[Term], model: BaseFairseqModel) -> None:
    """Freeze the student's parameters that none of the terms reads, such as a head or layers above the last one read.

    They have no gradient, for which torch's wrapper for several workers would wait in vain, and where fairseq's puts
    one of 0 they would lose their weights to weight decay.
    """
    read = {id(parameter) for module in _read_modules(terms, model) for parameter in module.parameters()}
    unread = [parameter for parameter in model.parameters() if parameter.requires_grad and id(parameter) not in read]
    for parameter in unread:
        parameter.requires_grad_(False)
    if unread:
        count = sum(parameter.numel() for parameter in unread)
        logger.info(
            "%s parameters of the student stay as they are, for no term of the objective reads them", f"{count:,}"
        )


def _read_modules(terms: Sequence[Term], model: BaseFairseqModel) -> Iterable[nn.Module]:
    last_layer = max(layer for term in terms for layer in term.student_layers(model))
    encoder = model.encoder
    return chain([encoder.embeddings], encoder.layers[:last_layer], *(term.student_modules(model) for term in terms))
