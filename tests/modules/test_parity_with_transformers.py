"""The encoder against BertForMaskedLM and DistilBertForMaskedLM of transformers, in float32 to 1e-5."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

assert_close = partial(torch.testing.assert_close, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pair_name", ["bert_pair", "distilbert_pair"])
@pytest.mark.parametrize("padded", [False, True])
def test_hidden_states_and_logits(pair_name: str, padded: bool, tokens: Tensor, request: pytest.FixtureRequest) -> None:
    theirs, ours, _ = request.getfixturevalue(pair_name)
    tokens = tokens if padded else tokens[:1]
    is_token = tokens.ne(ours.config.padding_index)
    expected = theirs(tokens, attention_mask=is_token.long(), output_hidden_states=True)

    logits, extra = ours(tokens, has_padding=padded, return_all_hiddens=True)

    assert len(extra["inner_states"]) == len(expected.hidden_states) == ours.config.layers + 1
    for our_hidden, their_hidden in zip(extra["inner_states"], expected.hidden_states, strict=True):
        assert_close(our_hidden[is_token], their_hidden[is_token])
    assert_close(logits[is_token], expected.logits[is_token])


@pytest.mark.parametrize("pair_name", ["bert_pair", "distilbert_pair"])
def test_masked_lm_loss_and_gradients(pair_name: str, tokens: Tensor, request: pytest.FixtureRequest) -> None:
    theirs, ours, renamed = request.getfixturevalue(pair_name)
    is_masked = torch.zeros_like(tokens, dtype=torch.bool)
    is_masked[[0, 0, 1, 2], [2, 10, 7, 0]] = True
    targets = tokens.flip(1).clamp(min=5)
    expected = theirs(
        tokens, attention_mask=tokens.ne(ours.config.padding_index).long(), labels=targets.masked_fill(~is_masked, -100)
    ).loss
    expected.backward()

    loss = F.cross_entropy(ours(tokens, masked_tokens=is_masked)[0], targets[is_masked])
    loss.backward()

    assert_close(loss, expected)
    expected_gradients = renamed({name: parameter.grad for name, parameter in theirs.named_parameters()})
    gradients = {name: parameter.grad for name, parameter in ours.named_parameters()}
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        assert_close(gradient, expected_gradients[name], msg=lambda message, name=name: f"{name}: {message}")
