"""The counter that the tests of memory rely on."""

import torch

from .live_bytes import LiveBytes


def test_what_is_live_is_counted_once_and_until_it_is_released() -> None:
    given = torch.zeros(8)
    with LiveBytes() as live:
        first = given + 1
        views = [first.view(2, 4), given[2:]]
        first.mul_(2)
        assert (live.now, live.peak) == (32, 32)
        torch.add(first, 1, out=torch.empty(8))
        assert (live.now, live.peak) == (32, 64)
        del first
        assert live.now == 32  # a view has it
        del views
    assert (live.now, live.peak) == (0, 64)
