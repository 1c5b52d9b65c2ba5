import torch

from fairseq_distil.losses import TokenPositions

PADDING = 1


def test_every_token_is_in_exactly_one() -> None:
    source = torch.tensor([[0, 9, 8, 2], [0, 7, 2, PADDING]])
    targets = torch.tensor([[1, 9, 1, 1], [1, 5, 1, 1]])
    masked, unmasked = TokenPositions.of(source, targets, PADDING)
    assert masked.tolist() == [1, 5]
    assert unmasked.tolist() == [0, 2, 3, 4, 6]


def test_none_or_all_masked() -> None:
    source = torch.tensor([[5, 6, PADDING]])
    assert [len(positions) for positions in TokenPositions.of(source, torch.full_like(source, PADDING), PADDING)] == [
        0,
        2,
    ]
    assert [len(positions) for positions in TokenPositions.of(source, source, PADDING)] == [2, 0]
