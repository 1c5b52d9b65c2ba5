"""The linear map that comes closest."""

import torch

from fairseq_distil.modules import least_squares


def test_a_line_through_the_origin_by_hand() -> None:
    inputs, outputs = torch.ones(2, 1).double(), torch.tensor([[2.0, 1.0], [4.0, -1.0]]).double()
    torch.testing.assert_close(least_squares(inputs, outputs), torch.tensor([[3.0, 0.0]]).double())
    torch.testing.assert_close(least_squares(inputs, outputs, ridge=0.5), torch.tensor([[2.0, 0.0]]).double())


def test_a_map_is_found_again() -> None:
    generator = torch.Generator().manual_seed(1)
    inputs, matrix = torch.randn(9, 4, generator=generator).double(), torch.randn(4, 3, generator=generator).double()
    torch.testing.assert_close(least_squares(inputs, inputs @ matrix), matrix)


def test_inputs_that_repeat_each_other_share_the_least_map() -> None:
    column = torch.tensor([[1.0], [2.0], [-1.0]]).double()
    shared = least_squares(torch.cat([column, column, 0 * column], 1), 3 * column)
    torch.testing.assert_close(shared, torch.tensor([[1.5], [1.5], [0.0]]).double(), rtol=0, atol=1e-5)


def test_inputs_that_are_all_zero_map_to_nothing() -> None:
    assert not least_squares(torch.zeros(3, 2).double(), torch.ones(3, 1).double()).any()
