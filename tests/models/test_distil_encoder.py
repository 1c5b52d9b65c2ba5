from collections.abc import Callable
from functools import partial

import pytest
import torch

from fairseq_distil.errors import UserError
from fairseq_distil.models import DistilEncoderModel

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


def test_classification_head_is_distilberts(teacher_run) -> None:
    model = DistilEncoderModel(teacher_run.model.config).eval()
    model.register_classification_head("rating", num_classes=3, inner_dim=5)
    logits, _ = model(TOKENS, features_only=True, classification_head_name="rating")
    head, first_token = model.classification_heads["rating"], model(TOKENS, features_only=True)[0][:, 0]
    inner = (first_token @ head.dense.weight.T + head.dense.bias).clamp_min(0)
    assert inner.shape == (2, 5) and head.dropout.probability == 0.2
    torch.testing.assert_close(logits, inner @ head.output.weight.T + head.output.bias)


def test_question_answering_head(teacher_run) -> None:
    model = DistilEncoderModel(teacher_run.model.config).eval()
    model.register_question_answering_head()
    logits, _ = model(TOKENS, answer_logits=True)
    output = model.question_answering_head.output
    assert logits.shape == (2, 5, 2)
    torch.testing.assert_close(logits, model(TOKENS, features_only=True)[0] @ output.weight.T + output.bias)


def test_heads_that_only_a_checkpoint_or_only_a_model_has(teacher_run) -> None:
    pretrained = DistilEncoderModel(teacher_run.model.config)
    tuned = DistilEncoderModel(teacher_run.model.config, with_masked_lm_head=False)
    tuned.register_classification_head("rating", num_classes=3)
    tuned.register_question_answering_head()
    heads = {name: tensor.clone() for name, tensor in tuned.state_dict().items() if not name.startswith("encoder.")}
    tuned.load_state_dict(pretrained.state_dict(), strict=True)
    for name, tensor in tuned.state_dict().items():
        assert torch.equal(tensor, heads.get(name, pretrained.state_dict().get(name))), name
    plain = DistilEncoderModel(teacher_run.model.config, with_masked_lm_head=False)
    plain.load_state_dict(tuned.state_dict(), strict=True)
    assert torch.equal(plain(TOKENS, features_only=True)[0], tuned(TOKENS, features_only=True)[0])


def test_restoring_makes_the_heads_of_the_state_dict(teacher_run) -> None:
    model = DistilEncoderModel(teacher_run.model.config, with_masked_lm_head=False)
    model.register_classification_head("one", num_classes=3, inner_dim=5)
    model.register_classification_head("two", num_classes=1)
    model.register_question_answering_head()
    restored = DistilEncoderModel.restored(model.config, model.state_dict())
    assert restored.masked_lm_head is None
    assert restored.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(restored.state_dict()[name], tensor)


def test_compiling_changes_neither_names_nor_values(teacher_run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the compiler's own back end, which takes long."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    model = DistilEncoderModel(teacher_run.model.config).eval()
    names, expected = list(model.state_dict()), model(TOKENS[:1])[0]
    model.compile_encoder()
    assert model.encoder._compiled_call_impl is not None
    torch.testing.assert_close(model(TOKENS[:1])[0], expected)
    assert list(model.state_dict()) == names
