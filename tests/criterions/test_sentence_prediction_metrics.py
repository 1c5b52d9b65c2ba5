"""The loss is fairseq's own; the metrics are those of scikit-learn and scipy on the whole split."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from fairseq.logging import metrics
from scipy import stats
from sklearn.metrics import f1_score, matthews_corrcoef

from fairseq_distil.errors import UserError
from fairseq_distil.modules import autocasting, keep_released_memory

OURS, STOCK = {"_name": "sentence_prediction_metrics"}, {"_name": "sentence_prediction"}
HEAD = "sentence_classification_head"
TWO, THREE = ("0", "1"), ("entailment", "neutral", "contradiction")
KINDS = pytest.mark.parametrize("classes", [TWO, THREE, ()], ids=["two classes", "three", "regression"])


def loss_and_gradients(run, sample: dict) -> tuple:
    run.model.zero_grad()
    torch.manual_seed(1)  # of the head's dropout
    loss, sample_size, logged = run.criterion(run.model.train(), sample)
    loss.backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in run.model.parameters()]
    return loss.detach(), sample_size, logged, gradients


def spread_weights(run) -> None:
    """As far from the first weights as training may take them, so that predictions differ."""
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
        logits = run.model.eval()(**run.batch("valid")["net_input"], classification_head_name=HEAD)[0]
        run.model.classification_heads[HEAD].output.bias -= logits.mean(0)


def validated(run, batches: list[list[int]], workers: int = 1) -> dict[str, float]:
    """What is logged of a validation in several steps, each of them on one batch a worker."""
    run.model.eval()
    logged = [run.criterion(run.model, run.batch("valid", rows))[2] for rows in batches]
    with metrics.aggregate(new_root=True) as aggregator:
        for first in range(0, len(logged), workers):
            type(run.criterion).reduce_metrics(logged[first : first + workers])
    return aggregator.get_smoothed_values()


@pytest.fixture
def outputs() -> Callable:
    """Outputs and labels of the whole validation split."""

    def compute(run) -> tuple[np.ndarray, np.ndarray]:
        run.model.eval()
        sample = run.batch("valid")
        with torch.inference_mode():
            logits = run.model(**sample["net_input"], classification_head_name=HEAD)[0]
        return logits.numpy(), sample["target"].view(-1).numpy()

    return compute


@KINDS
def test_loss_and_gradients_are_fairseqs(sentence_run: Callable, classes: tuple[str, ...]) -> None:
    run, stock = sentence_run(OURS, *classes), sentence_run(STOCK, *classes)
    sample = run.batch()
    loss, sample_size, logged, gradients = loss_and_gradients(run, sample)
    expected, expected_size, expected_log, expected_gradients = loss_and_gradients(stock, sample)
    assert sample_size == expected_size == 64
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradients, expected_gradients)
    assert logged.keys() == expected_log.keys()
    torch.testing.assert_close(logged, expected_log)


def test_released_memory_is_kept_on_a_cpu(sentence_run: Callable) -> None:
    run = sentence_run(OURS, *TWO)
    keep_released_memory.cache_clear()
    run.criterion(run.model, run.batch())
    assert keep_released_memory.cache_info().currsize == 1  # it has been called, as glibc cannot be asked


@pytest.mark.parametrize("workers", [1, 2])
def test_metrics_of_two_classes(sentence_run: Callable, outputs: Callable, workers: int) -> None:
    run = sentence_run(OURS | {"report_mcc": True, "report_acc_and_f1": True}, *TWO)
    spread_weights(run)
    logits, targets = outputs(run)
    predictions = logits.argmax(-1)
    assert 0 < (predictions == targets).mean() < 1 and 0 < predictions.mean() < 1
    logged = validated(run, [[0, 1, 2], [*range(3, 20)], [20, 21], [22]], workers)
    f1, accuracy = f1_score(targets, predictions), (predictions == targets).mean()
    loss = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(targets)).item()
    expected = {
        "loss": loss / np.log(2),
        "accuracy": 100 * accuracy,
        "mcc": 100 * matthews_corrcoef(targets, predictions),
        "f1": 100 * f1,
        "acc_and_f1": 50 * (accuracy + f1),
    }
    assert logged == pytest.approx(expected, abs=0.0006)


def test_metrics_of_numbers(sentence_run: Callable, outputs: Callable) -> None:
    run = sentence_run(OURS | {"report_pearson_and_spearman": True})
    spread_weights(run)
    logits, targets = outputs(run)
    pearson = stats.pearsonr(logits[:, 0], targets).statistic
    spearman = stats.spearmanr(logits[:, 0], targets).statistic
    expected = {
        "loss": np.square(logits[:, 0] - targets).mean(),
        "pearson": 100 * pearson,
        "spearman": 100 * spearman,
        "pearson_and_spearman": 50 * (pearson + spearman),
    }
    assert validated(run, [[0, 1, 2], [*range(3, 23)]]) == pytest.approx(expected, abs=0.0006)


def test_names_of_classes_need_not_be_numbers(sentence_run: Callable, outputs: Callable) -> None:
    """fairseq's own criterion raises a ValueError."""
    run = sentence_run(OURS | {"report_mcc": True}, *THREE)
    spread_weights(run)
    logits, targets = outputs(run)
    expected = 100 * matthews_corrcoef(targets, logits.argmax(-1))
    assert expected != 0
    assert validated(run, [[*range(23)]])["mcc"] == pytest.approx(expected, abs=0.0006)


@KINDS
@pytest.mark.parametrize("criterion", ["sentence_prediction_metrics", "sentence_prediction_distillation"])
def test_products_in_bfloat16(
    sentence_run: Callable,
    sentence_distillation_run: Callable,
    monkeypatch: pytest.MonkeyPatch,
    criterion: str,
    classes,
) -> None:
    monkeypatch.setattr(autocasting, "cpu_has_bfloat16", lambda: True)  # slow where it is emulated, but exact
    types, losses = {}, {}
    for dtype in ("none", "bfloat16"):
        setup = sentence_distillation_run if "distillation" in criterion else sentence_run
        run = setup({"_name": criterion, "autocast_dtype": dtype}, *classes)
        heads = [run.model.classification_heads[HEAD]]
        heads += [run.model.teacher.classification_heads[HEAD]] if "distillation" in criterion else []
        products: list[torch.dtype] = []
        for head in heads:
            head.output.register_forward_hook(lambda module, _, output, to=products: to.append(output.dtype))
        loss, _, _ = run.criterion(run.model.eval(), run.batch())
        loss.backward()
        assert loss.dtype == torch.float32 == run.model.classification_heads[HEAD].output.weight.grad.dtype
        (types[dtype],) = set(products)
        losses[dtype] = loss.item()
    assert types == {"none": torch.float32, "bfloat16": torch.bfloat16}
    assert losses["none"] != losses["bfloat16"] == pytest.approx(losses["none"], rel=0.02)


def test_training_logs_no_metrics_of_a_whole_split(sentence_run: Callable) -> None:
    run = sentence_run(OURS | {"report_mcc": True}, *TWO)
    logged = run.criterion(run.model.train(), run.batch())[2]
    with metrics.aggregate(new_root=True) as aggregator:
        type(run.criterion).reduce_metrics([logged])
        type(run.criterion).reduce_metrics([])  # a worker whose batches have run out
    assert aggregator.get_smoothed_values().keys() == {"loss", "accuracy"}


@pytest.mark.parametrize(
    ("criterion", "classes", "task", "message"),
    [
        ({}, TWO, {"num_classes": 3}, r"--num-classes \(task.num_classes\) is 3, but .*/dict.txt has 2 classes: 0, 1"),
        ({}, (), {"num_classes": 2}, r"--num-classes \(task.num_classes\) is 2, but regression has 1 output"),
        ({"report_mcc": True}, (), {}, "report_mcc is about classes, but criterion.regression_target is set"),
        ({"report_acc_and_f1": True}, THREE, {}, "report_acc_and_f1 is for two classes, but there are 3"),
        ({"report_pearson_and_spearman": True}, TWO, {}, "is about numbers; it needs criterion.regression_target"),
    ],
)
def test_errors(
    setup_run: Callable, sentence_data: Callable, teacher_path: str, criterion: dict, classes, task: dict, message: str
) -> None:
    settings = OURS | {"regression_target": not classes} | criterion
    with pytest.raises(UserError, match=message):
        setup_run({"_name": "distil_encoder", "pretrained": teacher_path}, settings, **sentence_data(*classes) | task)
