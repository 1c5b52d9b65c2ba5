"""A trained encoder for use: text in, hidden states or fillings out."""

from typing import NamedTuple

import torch
from fairseq import utils
from torch import Tensor, nn

from fairseq_distil.data.dictionary_check import MASK_SYMBOL
from fairseq_distil.data.tokenizers import Tokenizer, load_tokenizer
from fairseq_distil.errors import UserError


def symbols_around_masks(tokenizer: Tokenizer, sentence: str) -> list[str]:
    """The symbols of a sentence, ``<mask>`` in it as one of them; the space before a mask belongs to the mask."""
    symbols: list[str] = []
    for index, part in enumerate(sentence.split(MASK_SYMBOL)):
        symbols += ([MASK_SYMBOL] if index else []) + tokenizer.encode(part.rstrip())
    return symbols


class Filling(NamedTuple):
    """One guess for the mask in a sentence."""

    token: str
    probability: float
    sentence: str


class DistilEncoderHubInterface(nn.Module):
    """What ``DistilEncoderModel.from_pretrained`` returns.

    Args:
        task: a ``distil_masked_lm`` task; its data directory holds the tokeniser's files
        model: the encoder
    """

    def __init__(self, task, model: nn.Module) -> None:  # noqa: ANN001  fairseq tasks are not imported here
        super().__init__()
        self.task = task
        self.model = model.eval()
        self.tokenizer = load_tokenizer(utils.split_paths(task.cfg.data)[0])

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def encode(self, sentence: str) -> Tensor:
        """Ids ``(length,)`` of a sentence between ``<s>`` and ``</s>``; ``<mask>`` in it stands for the mask.

        Raises:
            UserError: the sentence is longer than the model's positions
        """
        dictionary = self.task.source_dictionary
        ids = [dictionary.bos(), *map(dictionary.index, self.symbols(sentence)), dictionary.eos()]
        if len(ids) > self.model.max_positions():
            raise UserError(f"the sentence has {len(ids)} tokens; the model takes {self.model.max_positions()}")
        return torch.tensor(ids)

    def symbols(self, sentence: str) -> list[str]:
        """See :func:`symbols_around_masks`."""
        return symbols_around_masks(self.tokenizer, sentence)

    @torch.inference_mode()
    def extract_features(self, tokens: Tensor) -> Tensor:
        """Last hidden states ``(batch, length, width)`` of ids ``(batch, length)`` or ``(length,)``."""
        return self.model(torch.atleast_2d(tokens).to(self.device), features_only=True)[0]

    @torch.inference_mode()
    def fill_mask(self, sentence: str, topk: int = 5) -> list[Filling]:
        """The ``topk`` most probable symbols for the one ``<mask>`` in ``sentence``, best first.

        Raises:
            UserError: the sentence has no mask, or several
        """
        if sentence.count(MASK_SYMBOL) != 1:
            raise UserError(f"{sentence!r} has {sentence.count(MASK_SYMBOL)} {MASK_SYMBOL}, expected one")
        tokens = self.encode(sentence)[None].to(self.device)
        logits = self.model(tokens, masked_tokens=tokens.eq(self.task.mask_idx))[0]
        probabilities, ids = logits.float().softmax(-1)[0].topk(topk)
        before, after = sentence.split(MASK_SYMBOL)
        fillings = []
        for probability, index in zip(probabilities.tolist(), ids.tolist(), strict=True):
            symbol = self.task.source_dictionary[index]
            filled = self.tokenizer.decode([*self.tokenizer.encode(before), symbol, *self.tokenizer.encode(after)])
            fillings.append(Filling(self.tokenizer.decode([symbol]), probability, filled))
        return fillings
