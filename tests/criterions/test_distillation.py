"""The criterion on real tasks, models and batches."""

import math

import pytest
import torch
from fairseq.logging import metrics
from torch import Tensor

from fairseq_distil.criterions import DistillationCriterion
from fairseq_distil.errors import UserError

LINES = {"sample_break_mode": "eos"}  # a line is a sample: batches with padding
TEACHER_FREE = {"soft_target_weight": 0.0, "cosine_weight": 0.0}
POPULATIONS = [
    pytest.param({}, id="published"),
    pytest.param({"soft_target_positions": "masked"}, id="soft targets at masked tokens"),
    pytest.param({"soft_target_positions": "masked", "cosine_weight": 0.0}, id="masked tokens alone"),
    pytest.param({"mlm_weight": 0.0}, id="without masked LM"),
    pytest.param(TEACHER_FREE, id="masked LM alone"),
    pytest.param({"hidden_weight": 2.0, "relation_weight": 3.0}, id="all terms"),
]


def loss_and_gradients(run, sample: dict) -> tuple[Tensor, int, dict, list[Tensor]]:
    run.model.zero_grad()
    loss, sample_size, logging_output = run.criterion(run.model, sample)
    loss.backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in run.model.parameters()]
    return loss.detach(), sample_size, logging_output, gradients


def reduced(logging_outputs: list[dict]) -> dict[str, float]:
    with metrics.aggregate(new_root=True) as aggregator:
        DistillationCriterion.reduce_metrics(logging_outputs)
    return aggregator.get_smoothed_values()


@pytest.mark.parametrize("cutting", [{}, LINES], ids=["blocks", "padded lines"])
def test_masked_lm_alone_equals_fairseqs_own_criterion(distillation_run, teacher_run, cutting: dict) -> None:
    run = distillation_run({"mlm_weight": 1.0, **TEACHER_FREE}, **cutting)
    sample = run.batch()
    loss, sample_size, logging_output, gradients = loss_and_gradients(run, sample)
    expected, expected_size, expected_log, expected_gradients = loss_and_gradients(
        run._replace(criterion=teacher_run.criterion), sample
    )
    assert sample_size == expected_size == sample["target"].ne(1).sum()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradients, expected_gradients)
    for key in ("ntokens", "nsentences", "sample_size"):
        assert logging_output[key] == expected_log[key]


@pytest.mark.parametrize("objective", POPULATIONS)
@pytest.mark.parametrize("first", [1, 11])
def test_two_micro_batches_add_up_to_the_double_batch(distillation_run, objective: dict, first: int) -> None:
    run = distillation_run(objective, **LINES)
    order = torch.randperm(25, generator=torch.Generator().manual_seed(1)).tolist()
    parts = [loss_and_gradients(run, run.batch(indices=indices)) for indices in (order[:first], order[first:])]
    loss, sample_size, logging_output, gradients = loss_and_gradients(run, run.batch(indices=order))
    torch.testing.assert_close(parts[0][0] + parts[1][0], loss)
    assert parts[0][1] + parts[1][1] == sample_size
    for first_gradient, second_gradient, gradient in zip(parts[0][3], parts[1][3], gradients, strict=True):
        torch.testing.assert_close(first_gradient + second_gradient, gradient, atol=1e-4, rtol=1e-4)
    assert reduced([parts[0][2], parts[1][2]]) == pytest.approx(reduced([logging_output]), rel=1e-3, nan_ok=True)


def test_padding_changes_nothing(distillation_run) -> None:
    run = distillation_run(**LINES)
    sample = run.batch(indices=[0])
    del sample["positions"], sample["net_input"]["has_padding"]
    padding = torch.full((1, 17 - sample["target"].size(1)), 1)
    padded = sample | {
        "net_input": {"src_tokens": torch.cat([sample["net_input"]["src_tokens"], padding], 1)},
        "target": torch.cat([sample["target"], padding], 1),
    }
    torch.testing.assert_close(loss_and_gradients(run, sample)[:2], loss_and_gradients(run, padded)[:2])


@pytest.mark.parametrize("positions", ["all", "masked"])
def test_terms_and_their_populations(distillation_run, positions: str) -> None:
    run = distillation_run({"soft_target_positions": positions, "soft_target_temperature": 3.0}, **LINES)
    sample = run.batch()
    loss, sample_size, log, _ = loss_and_gradients(run, sample)
    is_masked = sample["target"].ne(1)
    is_token = sample["net_input"]["src_tokens"].ne(1)
    with torch.no_grad():
        student, student_hidden = run.model(**sample["net_input"], return_all_hiddens=True)
        teacher, teacher_hidden = run.model.teacher(**sample["net_input"], return_all_hiddens=True)
    soft_at = is_token if positions == "all" else is_masked
    kl = torch.nn.functional.kl_div(
        (student[soft_at] / 3).log_softmax(-1), (teacher[soft_at] / 3).softmax(-1), reduction="sum"
    )
    cosine = torch.cosine_similarity(student_hidden["inner_states"][-1], teacher_hidden["inner_states"][-1], dim=-1)
    expected = {
        "soft_target_loss": 9 * kl,
        "mlm_loss": torch.nn.functional.cross_entropy(student[is_masked], sample["target"][is_masked], reduction="sum"),
        "cosine_loss": (1 - cosine)[is_token].sum(),
        "mlm_correct": student[is_masked].argmax(-1).eq(sample["target"][is_masked]).sum().float(),
        "teacher_agreement": student[is_masked].argmax(-1).eq(teacher[is_masked].argmax(-1)).sum().float(),
    }
    for name, value in expected.items():
        torch.testing.assert_close(
            log[name], value, atol=1e-3, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )
    tokens, masked = is_token.sum().item(), is_masked.sum().item()
    assert (log["ntokens"], log["masked_tokens"], log["cosine_tokens"], sample_size) == (tokens, masked, tokens, tokens)
    assert log["soft_target_tokens"] == soft_at.sum()
    soft_target_scale = 1 if positions == "all" else 1 / 0.15
    total = 5 * soft_target_scale * log["soft_target_loss"] + 2 / 0.15 * log["mlm_loss"] + log["cosine_loss"]
    torch.testing.assert_close(loss, total)


def test_a_student_that_equals_its_teacher_has_neither_soft_target_nor_cosine_loss(distillation_run) -> None:
    run = distillation_run({"mlm_weight": 0.0}, {"student_init": "teacher", "encoder_layers": 3})
    loss, _, log, gradients = loss_and_gradients(run, run.batch())
    assert loss.item() == pytest.approx(0, abs=1e-3)
    assert log["soft_target_loss"].item() == pytest.approx(0, abs=1e-4)
    assert log["cosine_loss"].item() == pytest.approx(0, abs=1e-3)
    assert log["teacher_agreement"] == log["masked_tokens"]
    assert max(gradient.abs().max() for gradient in gradients) < 1e-3


def test_batch_without_a_masked_token(distillation_run) -> None:
    run = distillation_run()
    sample = run.batch(indices=[0, 1])
    sample["target"].fill_(1)
    del sample["positions"]
    _, sample_size, log, gradients = loss_and_gradients(run, sample)
    assert sample_size == 34 and log["masked_tokens"] == 0 and log["mlm_loss"] == 0
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert "mlm_loss" not in reduced([log])


def test_scalars_by_hand() -> None:
    one = {
        "ntokens": 20,
        "nsentences": 2,
        "sample_size": 20,
        "loss": torch.tensor(30.0),
        "masked_tokens": 3,
        "mlm_loss": torch.tensor(6 * math.log(2)),
        "mlm_correct": torch.tensor(1.0),
        "teacher_agreement": torch.tensor(2.0),
        "soft_target_loss": torch.tensor(10.0),
        "soft_target_tokens": 20,
        "cosine_loss": torch.tensor(5.0),
        "cosine_tokens": 20,
    }
    other = {key: value * 0 for key, value in one.items()} | {
        "sample_size": 5,
        "masked_tokens": 1,
        "mlm_loss": torch.tensor(2 * math.log(2)),
        "soft_target_tokens": 5,
        "cosine_tokens": 5,
    }
    assert reduced([one, other]) == {
        "loss": round(30 / 25 / math.log(2), 3),
        "soft_target_loss": round(10 / 25 / math.log(2), 3),
        "mlm_loss": 2.0,  # 8 bits over 4 masked tokens
        "mlm_ppl": 4.0,
        "mlm_accuracy": 0.25,
        "teacher_agreement": 0.5,
        "cosine_loss": 0.2,
    }


def test_scalars_of_the_log(distillation_run) -> None:
    def scalars(**objective: float) -> set[str]:
        run = distillation_run(objective)
        return set(reduced([loss_and_gradients(run, run.batch())[2]]))

    without_teacher = {"loss", "mlm_loss", "mlm_ppl", "mlm_accuracy"}
    assert scalars() == without_teacher | {"soft_target_loss", "cosine_loss", "teacher_agreement"}
    assert scalars(**TEACHER_FREE) == without_teacher


def test_logging_outputs_are_sums_of_the_same_keys_from_every_worker(distillation_run) -> None:
    assert DistillationCriterion.logging_outputs_can_be_summed()
    run = distillation_run()
    first, second, both = (loss_and_gradients(run, run.batch(indices=rows))[2] for rows in ([0, 1], [2], [0, 1, 2]))
    assert first.keys() == second.keys() == both.keys()
    for key in both:
        assert float(first[key] + second[key]) == pytest.approx(float(both[key]), rel=1e-4), key
        assert not isinstance(both[key], Tensor) or not both[key].requires_grad


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"soft_target_weight": -1.0}, "criterion.soft_target_weight is -1.0, but a weight must be finite and not neg"),
        ({"mlm_weight": math.nan}, "criterion.mlm_weight is nan, but a weight must be finite"),
        ({"cosine_weight": math.inf}, "criterion.cosine_weight is inf, but a weight must be finite"),
        (
            {"mlm_weight": 0.0, **TEACHER_FREE},
            "all of cosine_weight, .*soft_target_weight are 0, so that",
        ),
        ({"soft_target_temperature": 0.0}, "criterion.soft_target_temperature is 0.0, but must be from 0.01 to 100$"),
        ({"soft_target_temperature": -2.0}, "criterion.soft_target_temperature is -2.0"),
        ({"soft_target_temperature": math.nan}, "criterion.soft_target_temperature is nan"),
        ({"soft_target_temperature": math.inf}, "criterion.soft_target_temperature is inf"),
        ({"soft_target_temperature": 1e-38}, "criterion.soft_target_temperature is 1e-38"),
        ({"soft_target_temperature": 1e30}, r"criterion.soft_target_temperature is 1e\+30"),
        (
            {"mlm_weight": 0.0, **TEACHER_FREE, "schedules": "cosine_weight=constant:0"},
            "criterion.schedules keeps cosine_weight at 0; leave its schedule out, and set .*cosine_weight to 0$",
        ),
        (
            {"schedules": "cosine_weight=linear:0:nan:9"},
            "criterion.schedules: cosine_weight linear:0:nan:9: criterion.cosine_weight is nan, but a weight must be",
        ),
        (
            {"hidden_layer_pairs": "9:99"},
            "criterion.hidden_layer_pairs is 9:99, but criterion.hidden_weight is 0; raise it, or leave "
            "hidden_layer_pairs at its default, uniform",
        ),
        ({"hidden_distance": "cosine"}, "hidden_distance is cosine, but criterion.hidden_weight is 0"),
        ({"hidden_distance": "cosine", "schedules": "hidden_weight=linear:0:0:9"}, "keeps hidden_weight at 0"),
        ({"schedules": "mlm_weight=cosine:0:0:3"}, "schedules keeps mlm_weight at 0"),
        (
            {"cosine_weight": 3.0, "schedules": "cosine_weight=linear:1:0.5:10"},
            "criterion.cosine_weight is 3.0, but criterion.schedules takes it from 1.0 to 0.5; leave one of them out, "
            "or set cosine_weight to 1.0$",
        ),
        (
            {"soft_target_temperature": 3.0, "schedules": "soft_target_temperature=linear:4:1:10"},
            "criterion.soft_target_temperature is 3.0, but criterion.schedules takes it from 4.0 to 1.0",
        ),
        (
            {"cosine_weight": 2.0, "schedules": "cosine_weight=constant:0.5"},
            "criterion.cosine_weight is 2.0, but criterion.schedules keeps it at 0.5; leave one of them out, or",
        ),
        ({"relation_layer_pairs": "2:5"}, "relation_layer_pairs is 2:5, but criterion.relation_weight is 0"),
        ({"relation_kinds": "value"}, "relation_kinds is value, but criterion.relation_weight is 0"),
        ({"relation_heads": 2}, "relation_heads is 2, but .*; raise it, or leave relation_heads out"),
        ({**TEACHER_FREE, "soft_target_positions": "masked"}, "soft_target_positions is masked, but .* default, all"),
        ({**TEACHER_FREE, "soft_target_temperature": 4.0}, "soft_target_temperature is 4.0, but .* default, 2.0"),
    ],
)
def test_errors(distillation_run, wrong: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        distillation_run(wrong)


def test_options_at_their_defaults_need_no_weight(distillation_run) -> None:
    run = distillation_run({**TEACHER_FREE, "soft_target_temperature": 2.0, "soft_target_positions": "all"})
    assert [term.weight_name for term in run.criterion.terms] == ["mlm_weight"]


def test_the_cosine_term_alone_needs_neither_masks_nor_the_vocabulary(distillation_run) -> None:
    cosine_alone = {"soft_target_weight": 0.0, "mlm_weight": 0.0}
    run = distillation_run(cosine_alone, mask_prob=0.0, **LINES)
    sample = run.batch()
    loss, sample_size, log, gradients = loss_and_gradients(run, sample)
    assert sample_size == sample["ntokens"] and log["masked_tokens"] == 0
    hidden = run.model(**sample["net_input"], features_only=True)[0].flatten(0, 1)
    teacher_hidden = run.model.teacher(**sample["net_input"], features_only=True)[0].flatten(0, 1)
    tokens = sample["net_input"]["src_tokens"].flatten().ne(1)
    torch.testing.assert_close(loss, (1 - torch.cosine_similarity(hidden, teacher_hidden))[tokens].sum())
    head = [name.startswith("masked_lm_head") for name, _ in run.model.named_parameters()]
    assert all(gradient.any() != of_head for gradient, of_head in zip(gradients, head, strict=True))
    assert set(reduced([log])) == {"loss", "cosine_loss"}


def test_the_cosine_term_alone_tells_a_validations_perplexity(distillation_run) -> None:
    run = distillation_run({"soft_target_weight": 0.0, "mlm_weight": 0.0})
    sample = run.batch()
    run.model.eval()
    assert {"mlm_ppl", "mlm_accuracy"} < set(reduced([run.criterion(run.model, sample)[2]]))
    run.model.train()


@pytest.mark.parametrize("objective", [{}, {"mlm_weight": 0.0, "soft_target_positions": "masked"}], ids=str)
def test_terms_over_masked_tokens_need_masks(distillation_run, objective: dict) -> None:
    with pytest.raises(UserError, match="need masks, but task.mask_prob is 0"):
        distillation_run(objective, mask_prob=0.0)


@pytest.mark.parametrize("weights", [{"cosine_weight": 0.0}, {"soft_target_weight": 0.0}, {}], ids=str)
def test_a_term_that_needs_a_teacher_without_one(distillation_run, teacher_run, weights: dict) -> None:
    run = distillation_run(weights)._replace(model=teacher_run.model)
    with pytest.raises(
        UserError, match="need a teacher, but the model has none; train a teacher_student with --teacher"
    ):
        run.criterion(run.model, run.batch(indices=[0]))


def test_a_model_that_lacks_a_teacher_is_refused_before_the_first_batch(setup_run) -> None:
    plain = {"_name": "distil_encoder", "encoder_layers": 1, "encoder_embed_dim": 12}
    with pytest.raises(UserError, match="need a teacher, but the model has none"):
        setup_run(plain, {"_name": "distillation"})
    setup_run(plain, {"_name": "distillation", **TEACHER_FREE})


def test_other_widths(distillation_run) -> None:
    for objective in ({}, {"cosine_weight": 0.0}):
        run = distillation_run(objective, {"encoder_embed_dim": 8})
        assert (run.criterion.width_projection is None) == ("cosine_weight" in objective)
        assert loss_and_gradients(run, run.batch(indices=[0]))[0].isfinite()
