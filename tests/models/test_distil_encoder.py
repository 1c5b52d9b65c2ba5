from collections.abc import Callable

import pytest
import torch

from fairseq_distil.errors import UserError

TOKENS = torch.tensor([[0, 9, 8, 7, 2], [0, 5, 2, 1, 1]])


def test_sizes_that_are_left_out_are_bases(setup_run: Callable) -> None:
    with torch.device("meta"):
        config = setup_run({"_name": "distil_encoder"}).model.config
    assert (config.layers, config.width, config.attention_heads, config.feed_forward_width) == (12, 768, 12, 3072)
    assert (config.max_positions, config.activation, config.layer_norm_epsilon) == (512, "gelu", 1e-12)


def test_feed_forward_is_four_times_the_width(setup_run: Callable) -> None:
    model = {"_name": "distil_encoder", "encoder_layers": 1, "encoder_embed_dim": 24}
    assert setup_run(model).model.config.feed_forward_width == 96


def test_sizes_are_written_into_the_configuration(setup_run: Callable) -> None:
    cfg = setup_run({"_name": "distil_encoder", "encoder_layers": 1, "encoder_embed_dim": 24}).cfg.model
    assert (cfg.encoder_layers, cfg.encoder_ffn_embed_dim, cfg.encoder_attention_heads) == (1, 96, 12)
    assert (cfg.max_positions, cfg.activation_fn, cfg.layer_norm_eps) == (512, "gelu", 1e-12)


def test_dropout_probabilities(setup_run: Callable) -> None:
    model = {"_name": "distil_encoder", "encoder_layers": 1, "encoder_embed_dim": 24}
    config = setup_run({**model, "dropout": 0.3, "attention_dropout": 0.2}).model.config
    assert (config.dropout, config.attention_dropout) == (0.3, 0.2)


def test_masked_tokens_are_the_rows_of_all_logits(teacher_run) -> None:
    model = teacher_run.model.eval()
    masked = TOKENS.eq(5) | TOKENS.eq(8)
    logits, _ = model(TOKENS)
    assert logits.shape == (2, 5, 46)
    torch.testing.assert_close(model(TOKENS, masked_tokens=masked)[0], logits[masked])


def test_features_and_the_vocabulary_projection_make_the_logits(teacher_run) -> None:
    model = teacher_run.model.eval()
    features, extra = model(TOKENS, features_only=True)
    assert features.shape == (2, 5, 12) and extra["inner_states"] is None
    torch.testing.assert_close(model.vocabulary_projection(features[1]).logits(), model(TOKENS)[0][1])


def test_all_hidden_states(teacher_run) -> None:
    features, extra = teacher_run.model.eval()(TOKENS, features_only=True, return_all_hiddens=True)
    assert [state.shape for state in extra["inner_states"]] == [(2, 5, 12)] * 4
    assert extra["inner_states"][-1] is features


@pytest.mark.parametrize("rows", [[0], [0, 1]])
def test_padding_is_found_where_it_is_not_told(teacher_run, rows: list[int]) -> None:
    model = teacher_run.model.eval()
    tokens = TOKENS[rows]
    is_token = tokens.ne(1)
    told = model(tokens, has_padding=len(rows) > 1)[0]
    torch.testing.assert_close(model(tokens)[0][is_token], told[is_token])


def test_normalized_probabilities(teacher_run) -> None:
    output = teacher_run.model.eval()(TOKENS)
    log_probabilities = teacher_run.model.get_normalized_probs(output, log_probs=True)
    probabilities = teacher_run.model.get_normalized_probs(output, log_probs=False)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(2, 5))
    torch.testing.assert_close(log_probabilities.exp(), probabilities)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"encoder_attention_heads": 5}, "5 attention heads do not divide the width 24"),
        ({"encoder_layers": 0}, "layers is 0, but must be at least 1"),
        ({"encoder_embed_dim": 0}, "width is 0, but must be at least 1"),
        ({"max_positions": -1}, "max_positions is -1"),
        ({"dropout": 1.5}, "dropout is 1.5, but must be a probability"),
    ],
)
def test_impossible_sizes(setup_run: Callable, wrong: dict, message: str) -> None:
    model = {"_name": "distil_encoder", "encoder_layers": 1, "encoder_embed_dim": 24}
    with pytest.raises(UserError, match=f"the encoder cannot be built: {message}"):
        setup_run({**model, **wrong})
