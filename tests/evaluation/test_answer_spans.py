import pytest
import torch

from fairseq_distil.evaluation.answer_spans import best_spans


def reference(logits: torch.Tensor, context_start: int, length: int, max_tokens: int) -> list[tuple[float, int, int]]:
    """All spans of one window, by two loops."""
    spans = [
        (float(logits[start, 0] + logits[end, 1]), start, end)
        for start in range(context_start, length - 1)
        for end in range(start, min(start + max_tokens, length - 1))
    ]
    return sorted(spans, reverse=True)


@pytest.mark.parametrize("max_tokens", [1, 3, 30])
@pytest.mark.parametrize("n_best", [1, 5, 1000])
def test_against_two_loops(max_tokens: int, n_best: int) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 11, 2, generator=generator)
    context_starts, lengths = torch.tensor([4, 1, 9]), torch.tensor([11, 7, 11])
    spans = best_spans(logits, context_starts, lengths, max_tokens, n_best)
    for window in range(3):
        expected = reference(logits[window], int(context_starts[window]), int(lengths[window]), max_tokens)[:n_best]
        found = [tuple(column[window].tolist()) for column in spans]
        possible = [span for span in zip(*found, strict=True) if span[0] > -torch.inf]
        assert [span[1:] for span in possible] == [span[1:] for span in expected]
        assert [span[0] for span in possible] == pytest.approx([span[0] for span in expected])


def test_by_hand() -> None:
    """``<s> q </s> a b c </s> <pad>``: larger logits outside the context, and of ends before starts, do not count."""
    starts = torch.tensor([9.0, 9, 9, 1, 0, 5.5, 9, 9])
    ends = torch.tensor([9.0, 9, 9, 4, 2, 0, 9, 9])
    logits = torch.stack([starts, ends], -1)[None]
    spans = best_spans(logits, torch.tensor([3]), torch.tensor([7]), max_tokens=2, n_best=5)
    found = list(zip(*(column[0].tolist() for column in spans), strict=True))
    assert found == [(5.5, 5, 5), (5, 3, 3), (3, 3, 4), (2, 4, 4), (0, 4, 5)]


def test_a_window_without_context_has_no_span() -> None:
    spans = best_spans(torch.zeros(1, 4, 2), torch.tensor([3]), torch.tensor([4]), max_tokens=2, n_best=1)
    assert spans.scores.tolist() == [[-torch.inf]]
