"""The arithmetic of a training step, product by product."""

from dataclasses import dataclass

from .training_case import TrainingCase

FORWARD = 1
FORWARD_AND_BACKWARD = 3
"""The gradients of both factors are one more product each."""


@dataclass(frozen=True)
class Product:
    """``count`` matrix products of ``(rows, inner)`` and ``(inner, columns)``."""

    part: str
    name: str
    rows: float
    """a mean over the steps where it differs from step to step"""
    inner: int
    columns: int
    count: int

    @property
    def flops(self) -> float:
        """Additions and multiplications."""
        return 2 * self.rows * self.inner * self.columns * self.count


def step_products(case: TrainingCase, masked_tokens: float) -> list[Product]:
    """All matrix products that one step needs.

    Args:
        case: the sizes
        masked_tokens: of a batch, on average

    Rows that no term needs are not counted, nor is a second computation of anything.
    """
    projected = sum(case.lengths) if case.distils and case.positions == "all" else masked_tokens
    products = _body(case, "student body", case.student_layers, FORWARD_AND_BACKWARD)
    products += _head(case, "student vocabulary", projected, FORWARD_AND_BACKWARD)
    if case.distils:
        products += _body(case, "teacher body", case.layers, FORWARD)
        products += _head(case, "teacher vocabulary", projected, FORWARD)
    return products


def _body(case: TrainingCase, part: str, layers: int, passes: int) -> list[Product]:
    tokens, width = sum(case.lengths), case.width
    head_width, attentions = width // case.heads, case.heads * layers * passes
    pairs = sum(length**2 for length in case.lengths) / case.length  # of tokens in a sequence, by the longest one
    return [
        Product(part, "query, key, value", tokens, width, 3 * width, layers * passes),
        Product(part, "attention scores", pairs, head_width, case.length, attentions),
        Product(part, "attention context", pairs, case.length, head_width, attentions),
        Product(part, "attention output", tokens, width, width, layers * passes),
        Product(part, "feed-forward in", tokens, width, 4 * width, layers * passes),
        Product(part, "feed-forward out", tokens, 4 * width, width, layers * passes),
    ]


def _head(case: TrainingCase, part: str, rows: float, passes: int) -> list[Product]:
    return [
        Product(part, "head", rows, case.width, case.width, passes),
        Product(part, "vocabulary", rows, case.width, case.vocab, passes),
    ]
