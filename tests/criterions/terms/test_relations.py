"""The relation term on real models and batches."""

from collections.abc import Callable

import pytest
import torch

from fairseq_distil.errors import UserError
from fairseq_distil.losses import reference_relation_divergence

ALONE = {"soft_target_weight": 0.0, "mlm_weight": 0.0, "cosine_weight": 0.0, "relation_weight": 2.0}


@pytest.mark.parametrize("has_padding_flag", [True, False])
def test_the_sum_over_kinds_and_the_mean_over_pairs(distillation_run: Callable, has_padding_flag: bool) -> None:
    settings = {"relation_layer_pairs": "1:3,2:1", "relation_heads": 6, "relation_kinds": "query,value"}
    run = distillation_run(ALONE | settings, sample_break_mode="eos")
    sample = run.batch()
    tokens = sample["net_input"]["src_tokens"]
    if not has_padding_flag:
        del sample["net_input"]["has_padding"]
    loss, sample_size, log = run.criterion(run.model, sample)
    vectors = {}
    for role, model in (("student", run.model), ("teacher", run.model.teacher)):
        states = model(tokens, return_all_hiddens=True)[1]["inner_states"]
        for number, layer in enumerate(model.encoder.layers, 1):
            attention = layer.attention.query_key_value
            for kind, (weight, bias) in enumerate(zip(attention.weight.chunk(3), attention.bias.chunk(3), strict=True)):
                vectors[role, number, kind] = states[number - 1] @ weight.T + bias
    expected = (
        sum(
            reference_relation_divergence(vectors["student", s, kind], vectors["teacher", t, kind], 6, tokens.eq(1))
            for s, t in ((1, 3), (2, 1))
            for kind in (0, 2)
        )
        / 2
    )
    torch.testing.assert_close(log["relation_loss"], expected.detach())
    torch.testing.assert_close(loss, 2 * expected)
    learning = [parameter for parameter in run.model.parameters() if parameter.requires_grad]
    torch.testing.assert_close(torch.autograd.grad(loss, learning), torch.autograd.grad(2 * expected, learning))
    assert sample_size == log["relation_tokens"] == tokens.ne(1).sum()


def test_a_narrower_student_learns_from_its_first_layers(distillation_run: Callable) -> None:
    """Widths differ; nothing above the student's queries, keys and values of its last layer gets a gradient."""
    run = distillation_run(ALONE | {"relation_heads": 4}, {"encoder_embed_dim": 8})
    run.criterion(run.model, run.batch())[0].backward()
    learning = {name for name, parameter in run.model.named_parameters() if parameter.grad is not None}
    assert "encoder.layers.1.attention.query_key_value.weight" in learning
    assert "encoder.layers.0.feed_forward_out.weight" in learning
    assert not any("layers.1.feed_forward" in name or "masked_lm_head" in name for name in learning)


def test_the_heads_are_the_teachers_unless_told(distillation_run: Callable) -> None:
    """Of a teacher with 4 heads and a student with 2."""

    def loss(**heads: int) -> float:
        run = distillation_run(ALONE | heads, {"encoder_embed_dim": 8, "encoder_attention_heads": 2})
        assert (run.model.teacher.config.attention_heads, run.model.config.attention_heads) == (4, 2)
        return run.criterion(run.model, run.batch())[0].item()

    by_default = loss()
    assert by_default == pytest.approx(loss(relation_heads=4), rel=1e-6)
    assert by_default != pytest.approx(loss(relation_heads=2), rel=1e-2)


def test_the_last_layers_are_not_computed(distillation_run: Callable) -> None:
    run = distillation_run(ALONE)
    run.model.teacher.encoder.layers[2].forward = None
    run.model.encoder.layers[1].forward = None
    assert run.criterion(run.model, run.batch())[0].isfinite()


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        ({"relation_layer_pairs": "0:1"}, "criterion.relation_layer_pairs: 0:1 names layer 0, the embeddings, which"),
        ({"relation_heads": 5}, "criterion.relation_heads is 5, which does not divide the student's width 12"),
        ({"relation_heads": 0}, "criterion.relation_heads is 0, but must be at least 1"),
        (
            {"relation_kinds": "query,keys"},
            "criterion.relation_kinds is query,keys; choose different ones of query",
        ),
        ({"relation_kinds": "key,key"}, "criterion.relation_kinds is key,key; choose different ones"),
    ],
)
def test_errors(distillation_run: Callable, criterion: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        distillation_run(ALONE | criterion)
