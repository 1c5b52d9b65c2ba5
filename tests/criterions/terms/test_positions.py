"""The tokens that terms of hidden states are over."""

from collections.abc import Callable

import pytest
import torch

from fairseq_distil.criterions.terms import Activations, Term
from fairseq_distil.criterions.terms.term import register_term
from fairseq_distil.errors import UserError

NO_WORDS = {"soft_target_weight": 0.0, "mlm_weight": 0.0}
MASKED = {"cosine_positions": "masked", "hidden_positions": "masked"}
MASK_PROB = 0.4


@pytest.mark.parametrize("has_another_over_all_tokens", [False, True])
def test_masked_tokens_alone(distillation_run: Callable, has_another_over_all_tokens: bool) -> None:
    """A sum over masked tokens beside one over all tokens is divided by the rate of masks."""
    relations = {"relation_weight": float(has_another_over_all_tokens)}
    weights = {"cosine_weight": 2.0, "hidden_weight": 3.0, "hidden_layer_pairs": "1:2"}
    task = {"sample_break_mode": "eos", "mask_prob": MASK_PROB}
    run = distillation_run(NO_WORDS | weights | relations | MASKED, **task)
    sample = run.batch()
    loss, sample_size, log = run.criterion(run.model, sample)

    is_masked = sample["target"].ne(1)
    student, teacher = (
        model(**sample["net_input"], return_all_hiddens=True)[1]["inner_states"]
        for model in (run.model, run.model.teacher)
    )
    cosine = (1 - torch.cosine_similarity(student[2], teacher[3], dim=-1))[is_masked].sum()
    hidden = (student[1] - teacher[2]).square().mean(-1)[is_masked].sum()
    tokens, masked = int(sample["net_input"]["src_tokens"].ne(1).sum()), int(is_masked.sum())
    assert 0 < masked < tokens
    assert log["cosine_tokens"] == log["hidden_tokens"] == masked
    assert sample_size == (tokens if has_another_over_all_tokens else masked)
    torch.testing.assert_close((log["cosine_loss"], log["hidden_loss"]), (cosine.detach(), hidden.detach()))
    expected = 2 * cosine + 3 * hidden
    if has_another_over_all_tokens:
        alone = distillation_run(NO_WORDS | {"cosine_weight": 0.0} | relations, **task).criterion
        expected = expected / MASK_PROB + alone(run.model, sample)[0]
    torch.testing.assert_close(loss, expected)
    learning = [parameter for parameter in run.model.parameters() if parameter.requires_grad]
    gradients, expected_gradients = (torch.autograd.grad(one, learning) for one in (loss, expected))
    torch.testing.assert_close(gradients, expected_gradients, atol=1e-4, rtol=1e-4)


def test_masked_tokens_without_masks(distillation_run: Callable) -> None:
    with pytest.raises(UserError, match="criterion.cosine_weight and criterion.hidden_weight need masks, but task.m"):
        distillation_run(NO_WORDS | MASKED | {"hidden_weight": 1.0}, mask_prob=0.0)


def test_no_token_of_a_model_without_a_teacher(teacher_run) -> None:
    states = torch.ones(2, 5, 12, requires_grad=True)
    words = torch.full((2, 5), 7)
    read = Activations(teacher_run.model, {"src_tokens": words}, {1: states}, {}, torch.arange(10), 3).of_no_token()
    assert read.net_input["src_tokens"].shape == (0, 5) and read.teacher_states == {}
    read.student_rows(1).sum().backward()
    assert read.student_rows(1).shape == (0, 12) and not states.grad.any()


def test_a_term_that_nothing_computes() -> None:
    class Silent(Term):
        weight_name = "silent_weight"

    with pytest.raises(TypeError, match="^nothing computes the term Silent; make it an ActivationTerm$"):
        register_term(Silent)
