from typing import Any

import pytest
import torch

from fairseq_distil.checkpoints.tensor_check import require_held
from fairseq_distil.errors import UserError


def test_state_dicts_pass() -> None:
    words = torch.ones(9, 4)
    require_held({})
    require_held({"words": words, "decoder": words, "half": words[:5], "none": words[:0], "bias": words[0].half()})


@pytest.mark.parametrize("weights", [5, [torch.ones(2)], {5: torch.ones(2)}, {("a",): torch.ones(2)}])
def test_what_is_no_state_dict(weights: Any) -> None:
    with pytest.raises(UserError, match="^not a state dict of tensors$"):
        require_held(weights)


@pytest.mark.parametrize(
    "value", [5, "x", None, [1.0], torch.ones(2, 2).to_sparse(), torch.ones(2, device="meta")], ids=str
)
def test_what_is_no_tensor_with_values(value: Any) -> None:
    with pytest.raises(
        UserError, match="not a state dict of tensors: b is not a dense tensor with values; save it as one"
    ):
        require_held({"a": torch.ones(2), "b": value})


def test_views_that_claim_more_than_they_hold() -> None:
    with pytest.raises(
        UserError, match="its tensors claim 4,000,000,000,000 bytes, but it holds 4; save it again with a clone"
    ):
        require_held({"a": torch.zeros(1).expand(10**12)})
    shared = torch.zeros(100)
    with pytest.raises(UserError, match="claim 2,000 bytes, but it holds 400"):
        require_held({str(number): shared for number in range(5)})
