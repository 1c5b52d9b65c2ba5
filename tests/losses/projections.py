"""Random projections on a vocabulary, and losses of them with gradients."""

from collections.abc import Callable

import torch
from torch import Tensor

from fairseq_distil.losses import (
    TermScales,
    VocabularyLoss,
    VocabularyProjection,
    reference_vocabulary_loss,
    vocabulary_loss,
)

VOCABULARY = 47
ROW_BYTES = 4 * VOCABULARY
PUBLISHED = TermScales(temperature=2.0, soft_target=5.0, mlm=2.0 / 0.15)


def random_projection(rows: int, width: int, seed: int, dtype: torch.dtype = torch.float32) -> VocabularyProjection:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((rows, width), (VOCABULARY, width), (VOCABULARY,))
    return VocabularyProjection(*(torch.randn(shape, generator=generator).to(dtype) for shape in shapes))


def random_targets(masked_rows: int) -> Tensor:
    return torch.randint(VOCABULARY, (masked_rows,), generator=torch.Generator().manual_seed(9))


def with_gradients(
    function: Callable, student: VocabularyProjection, *arguments: object, **options: int
) -> tuple[VocabularyLoss, tuple[Tensor, ...]]:
    leaves = VocabularyProjection(*(tensor.clone().requires_grad_() for tensor in student))
    losses = function(leaves, *arguments, **options)
    # Not 1, so that the gradient that arrives from outside is seen to count.
    return losses, torch.autograd.grad(3 * losses.total, leaves)


def assert_equal_losses(actual: tuple, expected: tuple, atol: float, rtol: float) -> None:
    for name, value, reference in zip(VocabularyLoss._fields, actual[0], expected[0], strict=True):
        torch.testing.assert_close(
            value, reference, atol=atol, rtol=rtol, msg=lambda text, name=name: f"{name}: {text}"
        )
    for name, value, reference in zip(VocabularyProjection._fields, actual[1], expected[1], strict=True):
        torch.testing.assert_close(
            value, reference, atol=atol, rtol=rtol, msg=lambda text, name=name: f"{name}: {text}"
        )


def assert_chunks_equal_the_formula(*arguments: object, **sizes: int) -> None:
    """The chunked loss of a student, teachers, targets and scales is the plain formula's, with its gradients."""
    assert_equal_losses(
        with_gradients(vocabulary_loss, *arguments, **sizes),
        with_gradients(reference_vocabulary_loss, *arguments),
        atol=1e-4,
        rtol=1e-5,
    )
