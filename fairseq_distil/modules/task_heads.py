"""Heads of fine-tuned encoders: one for whole texts, one for answers in them."""

import torch.nn.functional as F
from torch import Tensor, nn

from .dropout import Dropout
from .linear import Linear


class ClassificationHead(nn.Module):
    """Dense, ReLU, dropout, output, on the first token: DistilBERT's head for classification and regression.

    Args:
        width: size of a hidden state
        inner_width: size between the two products
        classes: classes, or 1 for regression
        dropout: probability, before the output
    """

    def __init__(self, width: int, inner_width: int, classes: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.dense = Linear(width, inner_width)
        self.dropout = Dropout(dropout)
        self.output = Linear(inner_width, classes)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map hidden states ``(batch, length, width)`` to logits ``(batch, classes)``."""
        return self.output(self.dropout(F.relu(self.dense(hidden[:, 0]))))


class QuestionAnsweringHead(nn.Module):
    """Dropout and one output: a logit for each token to be the answer's first, and one to be its last.

    Args:
        width: size of a hidden state
        dropout: probability; DistilBERT's is 0.1
    """

    def __init__(self, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.output = Linear(width, 2)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map hidden states ``(batch, length, width)`` to start and end logits ``(batch, length, 2)``."""
        return self.output(self.dropout(hidden))
