import math
from typing import Any

import pytest
import torch

from fairseq_distil.errors import UserError
from fairseq_distil.evaluation import evaluate_masked_lm

PADDING = 1


def masked_log_probabilities(run: Any, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Of every symbol, and targets, at the masked positions, from the logits of the whole batch."""
    with torch.no_grad():
        logits = run.model(batch["net_input"]["src_tokens"])[0].double()
    masked = batch["target"] != PADDING
    return (logits - logits.exp().sum(-1, keepdim=True).log())[masked], batch["target"][masked]


def test_against_the_logits_of_whole_batches(deep_run: Any, shallow_run: Any) -> None:
    batch = deep_run.batch("valid")
    results = evaluate_masked_lm([deep_run.model, shallow_run.model], [batch])
    choices = []
    for result, run in zip(results, (deep_run, shallow_run), strict=True):
        log_probabilities, targets = masked_log_probabilities(run, batch)
        nats = -sum(row[target].item() for row, target in zip(log_probabilities, targets, strict=True)) / len(targets)
        choices.append(log_probabilities.max(-1).indices.tolist())
        hits = sum(choice == target for choice, target in zip(choices[-1], targets.tolist(), strict=True))
        assert result.perplexity == pytest.approx(math.exp(nats), rel=1e-5)
        assert result.accuracy == pytest.approx(hits / len(targets))
    agreed = sum(one == other for one, other in zip(*choices, strict=True))
    assert 0 < agreed < len(choices[0])
    assert results[0].reference_agreement == 1
    assert results[1].reference_agreement == pytest.approx(agreed / len(choices[0]))


def test_logits_made_by_hand(encoder_run: Any) -> None:
    """Without word embeddings, the output bias alone makes the logits: one symbol has half of the probability."""
    run = encoder_run(layers=1, initializer_range=0.02)
    batch = run.batch("valid")
    targets = batch["target"][batch["target"] != PADDING]
    favourite = targets.mode().values.item()
    hits = targets.eq(favourite).sum().item()
    with torch.no_grad():
        run.model.encoder.embeddings.word_embeddings.weight.zero_()
        run.model.masked_lm_head.bias.fill_(math.log(0.5 / 45))
        run.model.masked_lm_head.bias[favourite] = math.log(0.5)
    (result,) = evaluate_masked_lm([run.model], [batch])
    mean_nats = (hits * math.log(2) + (len(targets) - hits) * math.log(90)) / len(targets)
    assert result.perplexity == pytest.approx(math.exp(mean_nats), rel=1e-5)
    assert result.accuracy == pytest.approx(hits / len(targets))
    assert result.reference_agreement == 1


def test_means_are_over_tokens_not_over_batches(deep_run: Any, shallow_run: Any) -> None:
    models = [deep_run.model, shallow_run.model]
    whole = deep_run.batch("valid")
    parts = [deep_run.batch("valid", indices) for indices in ([0], list(range(1, whole["nsentences"])))]
    for of_parts, of_whole in zip(evaluate_masked_lm(models, parts), evaluate_masked_lm(models, [whole]), strict=True):
        assert tuple(of_parts) == pytest.approx(tuple(of_whole), rel=1e-5)


def test_nothing_masked(deep_run: Any) -> None:
    with pytest.raises(UserError, match="no token of the data is masked"):
        evaluate_masked_lm([deep_run.model], [])


def test_one_model_at_a_time_is_on_the_device(deep_run: Any, shallow_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that is not here, to which neither models nor batches really go."""
    moves = []
    for name, run in (("deep", deep_run), ("shallow", shallow_run)):
        monkeypatch.setattr(run.model, "to", lambda device, name=name: moves.append((name, device)))
        monkeypatch.setattr(run.model, "cpu", lambda name=name: moves.append((name, "cpu")))
    monkeypatch.setattr(
        "fairseq.utils.move_to_cuda", lambda sample, device: moves.append(("batch", device.type)) or sample
    )
    batch = deep_run.batch("valid")
    results = evaluate_masked_lm([deep_run.model, shallow_run.model], [batch], "cuda", lambda: moves.append("done"))
    one_model = [("batch", "cuda"), "done"]
    assert moves == [("deep", "cuda"), *one_model, ("deep", "cpu"), ("shallow", "cuda"), *one_model, ("shallow", "cpu")]
    monkeypatch.undo()
    assert results == evaluate_masked_lm([deep_run.model, shallow_run.model], [batch])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_what_a_cpu_does(deep_run: Any, shallow_run: Any) -> None:
    models, batch = [deep_run.model, shallow_run.model], deep_run.batch("valid")
    for on_gpu, on_cpu in zip(
        evaluate_masked_lm(models, [batch], "cuda"), evaluate_masked_lm(models, [batch]), strict=True
    ):
        assert tuple(on_gpu) == pytest.approx(tuple(on_cpu), rel=1e-4)
