"""The task alone: what it refuses, and scores that do not depend on how validation is divided."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.logging import metrics

from fairseq_distil.errors import UserError

MODEL = {
    "_name": "distil_encoder",
    "encoder_layers": 1,
    "encoder_embed_dim": 12,
    "encoder_attention_heads": 4,
    "max_positions": 19,
}


@pytest.fixture(scope="module")
def run(setup_run: Callable, squad_data: Path) -> Callable:
    def setup(model: dict | None = None, **task: Any):
        task = {"_name": "question_answering", "data": str(squad_data), **task}
        return setup_run(MODEL | (model or {}), {"_name": "question_answering"}, **task)

    return setup


@torch.no_grad()
def validate(run: Any, batches: list[list[int]], workers: int = 1) -> dict[str, float]:
    """Exact match and F1 as fairseq's trainer comes to them, with the logs of all workers at each step."""
    run.model.eval(), run.criterion.eval()
    run.task.load_dataset("valid")
    dataset = run.task.datasets["valid"]
    with metrics.aggregate(new_root=True) as aggregator:
        for step in range(0, len(batches), workers):
            of_workers = (batches[step : step + workers] + [[]] * workers)[:workers]
            samples = [dataset.collater([dataset[index] for index in batch]) for batch in of_workers]
            logs = [run.task.valid_step(sample, run.model, run.criterion)[2] for sample in samples]
            run.task.reduce_metrics(logs, run.criterion)
    values = aggregator.get_smoothed_values()
    return {name: values[name] for name in ("loss", "exact_match", "f1")}


def test_scores_do_not_depend_on_batches_and_workers(run: Callable) -> None:
    """The two windows of a question are in different batches, and an epoch's batches do not divide evenly."""
    tiny = run()
    whole = validate(tiny, [list(range(36))])
    assert 0 < whole["f1"] < 100
    by_parity = [list(range(0, 36, 2)), list(range(1, 20, 2)), list(range(21, 36, 2))]
    assert validate(tiny, by_parity) == pytest.approx(whole)
    assert validate(tiny, by_parity, workers=2) == pytest.approx(whole)


def test_perfect_logits_score_100(run: Callable) -> None:
    class Oracle(torch.nn.Module):
        """Points at the answer where the window holds it, and elsewhere, less, at the first word."""

        def forward(self, src_tokens: torch.Tensor, **_: Any) -> tuple[torch.Tensor, None]:
            logits = torch.zeros(*src_tokens.shape, 2)
            for row, window in enumerate(self.windows):
                start, end = tiny.task.datasets["valid"].split.windows[window, 3:].tolist()
                logits[row, start, 0] = logits[row, end, 1] = 9.0 if start else 0.0
            return logits, None

    tiny = run()
    oracle = Oracle()
    oracle.windows = range(36)
    scores = validate(tiny._replace(model=oracle), [list(range(36))])
    assert (scores["exact_match"], scores["f1"]) == (100, 100)


def test_training_logs_can_be_summed(run: Callable) -> None:
    tiny = run()
    tiny.criterion.train(), tiny.model.train()
    _, _, log = tiny.criterion(tiny.model, tiny.batch("train"))
    assert all(isinstance(value, (int, torch.Tensor)) for value in log.values())


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"max_answer_tokens": 0}, "max_answer_tokens is 0"),
        ({"autocast_dtype": "float16"}, "float16 needs loss scaling"),
        ({"data": "nowhere"}, "nowhere/dict.txt: no such file"),
    ],
)
def test_impossible_settings(run: Callable, task: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(**task)


def test_windows_that_are_longer_than_the_model(run: Callable) -> None:
    tiny = run(model={"max_positions": 15})
    tiny.task.load_dataset("valid")
    dataset = tiny.task.datasets["valid"]
    with pytest.raises(UserError, match="18 of 36 windows are longer than the model's 15 positions; .* --length"):
        tiny.task.filter_indices_by_size(dataset.ordered_indices(), dataset, 15)
    kept = tiny.task.filter_indices_by_size(dataset.ordered_indices(), dataset, 15, ignore_invalid_inputs=True)
    assert len(kept) == 18


def test_another_model(run: Callable) -> None:
    with pytest.raises(UserError, match="needs a distil_encoder or a teacher_student, not roberta"):
        run(model={"_name": "roberta", **dict.fromkeys(MODEL.keys() - {"_name"}, 8)} | {"encoder_layers": 1})


def test_data_that_is_not_prepared_for_questions(run: Callable, data: str) -> None:
    with pytest.raises(UserError, match="valid.windows.npy: no such file; prepare .* scripts/prepare_squad.py"):
        run(data=data).task.load_dataset("valid")


def test_a_checkpoint_of_another_dictionary(run: Callable) -> None:
    task = run().task
    symbols = [*task.dictionary.symbols[:-2], "other", "<mask>"]
    with pytest.raises(UserError, match="the checkpoint has another dictionary than the data's dict.txt"):
        task.load_state_dict({"dictionary_symbols": symbols})
