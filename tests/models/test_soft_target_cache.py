"""Stored soft targets of the likeliest words, against a teacher that runs at each step."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fairseq_distil.data.stored_outputs import HEADER_BYTES
from fairseq_distil.errors import UserError
from fairseq_distil.models import soft_target_cache, teacher_outputs

from .losses_of_students import refuse_to_run, results
from .stored_soft_targets import TEMPERATURE, WORDS, batch

BYTES_OF_A_TOKEN = 2 * WORDS + 2 * (WORDS + 1)


@pytest.mark.parametrize("is_of_two", [False, True])
@pytest.mark.parametrize("task", [{}, {"mask_prob_schedule": "constant:0.5"}, {"sample_break_mode": "none"}], ids=str)
def test_the_loss_and_gradients_are_those_without(
    stored_run: Callable, two_teachers: str, teacher_path: str, is_of_two: bool, task: dict[str, Any], tmp_path: Path
) -> None:
    """Batches of other items than those that the pass has put together; probabilities are rounded to 11 bits."""
    teacher = two_teachers if is_of_two else teacher_path
    plain, stored = (stored_run(cache, teacher=teacher, **task) for cache in (None, tmp_path))
    for split, items, epoch in (
        ("train", [3, 0, 21, 7], 1),
        ("train", [3, 8], 2),
        ("train", [5], 3),
        ("valid", [2], 1),
    ):
        expected, found = (results(run, batch(run, split, items, epoch)) for run in (plain, stored))
        assert expected[0] > 0
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)
    assert sorted(os.listdir(tmp_path)) == ["train.1.teacher", "train.2.teacher", "valid.1.teacher"]


def test_under_autocast(stored_run: Callable) -> None:
    """The products of the pass are those of the step."""
    with torch.autocast("cpu", torch.bfloat16):
        expected, found = (results(run, batch(run, "train", [3, 8])) for run in (stored_run(None), stored_run()))
    torch.testing.assert_close(found[0], expected[0], atol=0, rtol=1e-2)
    for gradient, reference in zip(found[1], expected[1], strict=True):
        assert (gradient - reference).norm() <= 0.02 * reference.norm()


def test_data_directories_in_turn(stored_run: Callable, write_data: Callable, random_lines: list, data: str) -> None:
    """The masks of epoch 2 are of the second directory, and so on."""
    second = write_data(Path(data).parent / "second", {"train": random_lines[40:]})
    plain, stored = (stored_run(cache, data=f"{data}:{second}") for cache in (None, Path(data).parent / "outputs"))
    for epoch in (1, 2, 3, 4):
        for run in (plain, stored):
            run.task.load_dataset("train", epoch=epoch)
        expected, found = (results(run, batch(run, "train", [3, 8, 1], epoch)) for run in (plain, stored))
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)


def test_a_student_of_fewer_positions_leaves_nothing_out(stored_run: Callable) -> None:
    """It skips lines that are in the file nevertheless, for others."""
    short, other = stored_run(model={"max_positions": 8}, tokens_per_sample=8), stored_run()
    batch(short, "train", [0])
    (line,) = (short.task.datasets["train"].sizes <= 8).nonzero()[0][:1]
    results(short, batch(short, "train", [int(line)]))
    longest = int(other.task.datasets["train"].sizes.argmax()) if batch(other, "train", [0]) else 0
    loss, _ = results(other, batch(other, "train", [longest]))
    assert loss.isfinite()


def test_training_data_that_are_validated_with_fewer_masks(stored_run: Callable) -> None:
    run = stored_run(mask_prob_schedule="constant:0.5")
    items = list(range(20))
    batch(run, "train", items)
    fewer = run.task.masked_for(run.batch("train", items), update=None)
    with pytest.raises(UserError, match="masked tokens for a batch of train that has .* do not validate on them"):
        results(run, fewer)


def test_a_task_with_several_models(stored_run: Callable) -> None:
    """As fairseq-validate has of several paths; each gives its data sets names."""
    run = stored_run()
    expected = results(run, batch(run, "train", [3, 8], epoch=2))
    again = run.task.build_model(run.cfg.model)
    again.load_state_dict(run.model.state_dict())
    del run.task.datasets["train"]
    found = results(run._replace(model=again), batch(run, "train", [3, 8], epoch=2))
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_what_is_stored(stored_run: Callable, tmp_path: Path) -> None:
    run = stored_run()
    sample = batch(run, "train", list(range(40)), epoch=2)
    results(run, sample)
    masked = sample["positions"]["masked"]
    logits = run.model.teacher(**sample["net_input"])[0].flatten(0, 1)[masked].detach()
    probabilities, words = (logits / TEMPERATURE).softmax(-1).topk(WORDS)
    values, starts = run.model.soft_target_cache._opened["train", 2]
    rows = np.concatenate([values[starts[item] : starts[item + 1]] for item in range(40)])
    assert len(rows) == len(masked) > 40
    assert (rows["words"] == words.sort().values.numpy()).all()
    in_order = probabilities.gather(1, words.argsort())
    torch.testing.assert_close(torch.from_numpy(rows["probabilities"][:, :-1]).float(), in_order, atol=0, rtol=2**-11)
    rest = torch.from_numpy(rows["probabilities"][:, -1].astype(np.float32))
    torch.testing.assert_close(rest, 1 - probabilities.sum(1), atol=1e-6, rtol=2**-10)
    assert (tmp_path / "train.2.teacher").stat().st_size == HEADER_BYTES + BYTES_OF_A_TOKEN * starts[-1]


def test_a_vocabulary_beyond_16_bits() -> None:
    assert soft_target_cache._dtype(2**16, 64).itemsize == 258
    assert soft_target_cache._dtype(2**16 + 1, 64).itemsize == 386


def test_the_teacher_runs_once(stored_run: Callable, told: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several batches, and for none of what comes afterwards, in this run or another."""
    monkeypatch.setattr(teacher_outputs, "TOKENS_AT_A_TIME", 40)
    run = stored_run()
    expected = results(run, batch(run, "train", [4, 2]))
    assert any(line.endswith("bytes written") for line in told())
    again = stored_run()
    for one in (run, again):
        monkeypatch.setattr(one.model.teacher, "forward", refuse_to_run)
        for epoch in (1, 3):
            torch.testing.assert_close(results(one, batch(one, "train", [4, 2], epoch)), expected, atol=0, rtol=0)
    assert told() == []
    with pytest.raises(AssertionError, match="the teacher ran"):
        results(again, batch(again, "train", [4, 2], epoch=2))


def test_the_pass_is_of_the_batchs_epoch_where_the_data_set_is_ahead(stored_run: Callable) -> None:
    """As it is when the next epoch's batches have been begun."""
    plain, stored = stored_run(None), stored_run()
    samples = [batch(run, "train", [3, 8], epoch=1) for run in (plain, stored)]
    stored.task.datasets["train"].set_epoch(2)
    expected, found = (results(run, sample) for run, sample in zip((plain, stored), samples, strict=True))
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)
    assert stored.task.datasets["train"].dataset.epoch == 2


def test_batches_of_nothing_and_without_masks(stored_run: Callable) -> None:
    run = stored_run(mask_prob=0.01)
    batch(run, "train", [0])
    for sample in (run.task.datasets["train"].collater([]), batch(run, "train", [0])):
        assert not len(sample["positions"]["masked"])
        loss, sample_size, _ = run.criterion(run.model, sample)
        assert (loss.item(), sample_size) == (0, 0)


def test_outcomes_that_are_not_finite(stored_run: Callable, tmp_path: Path) -> None:
    run = stored_run()
    run.model.teacher.masked_lm_head.bias.data[7] = float("nan")
    with pytest.raises(UserError, match="^the teacher's logits are not finite"):
        results(run, batch(run, "valid", [0, 1]))
    assert os.listdir(tmp_path) == []


def test_a_disk_without_room_for_them(stored_run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is told before the teacher has run over all data."""
    run = stored_run()
    sample = batch(run, "valid", [0, 1])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 4000, 4000))
    monkeypatch.setattr(run.model.teacher, "forward", refuse_to_run)
    with pytest.raises(UserError, match=r"outputs take \d,\d+ bytes, but 4,000 are free; take another folder$"):
        results(run, sample)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("criterion", "task", "message"),
    [
        (
            {},
            {"repeat_masks_after": None},
            "masks change from epoch to epoch; let them repeat with --repeat-masks-after",
        ),
        ({}, {"repeat_masks_after": 0}, "task.repeat_masks_after is 0, but masks repeat after 1 epoch at least"),
        (
            {},
            {"mask_prob_schedule": "linear:0.4:0.3:10"},
            "needs masks that stay the same, but .* is linear:0.4:0.3:10",
        ),
        (
            {},
            {"mask_prob_schedule": "constant:0.2"},
            "constant:0.2; give constant:RATE, of at least task.mask_prob, 0.3",
        ),
        ({"soft_target_top_k": None}, {}, "of the likeliest words of masked tokens; say of how many words"),
        ({"soft_target_top_k": 46}, {}, "soft_target_top_k is the whole vocabulary of 46; lower it"),
        ({"soft_target_positions": "all"}, {}, "add --soft-target-positions masked"),
        ({"cosine_weight": 1.0}, {}, "criterion.cosine_weight need more of the teacher, but --teacher-cache .* alone"),
        (
            {"soft_target_weight": 0.0, "soft_target_top_k": None, "soft_target_positions": "all"}
            | {"soft_target_temperature": 2.0},
            {},
            "keeps soft targets alone, but criterion.soft_target_weight is 0",
        ),
        (
            {"schedules": f"soft_target_temperature=linear:{TEMPERATURE}:1:10"},
            {},
            "criterion.schedules changes soft_target_temperature, but --teacher-cache .* of one",
        ),
    ],
)
def test_mistakes(stored_run: Callable, criterion: dict[str, Any], task: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        stored_run(criterion=criterion, **task)


def test_a_temperature_whose_schedule_is_constant(stored_run: Callable) -> None:
    run = stored_run()
    scheduled = stored_run(criterion={"schedules": f"soft_target_temperature=constant:{TEMPERATURE}"})
    scheduled.model.load_state_dict(run.model.state_dict())
    assert results(scheduled, batch(scheduled, "train", [0, 1]))[0] == results(run, batch(run, "train", [0, 1]))[0]


def test_shards_whose_masks_would_not_repeat(stored_run: Callable, data: str) -> None:
    with pytest.raises(UserError, match="task.repeat_masks_after is 3, .* needs a multiple of the 2 directories"):
        stored_run(data=f"{data}:{data}", repeat_masks_after=3)


def test_a_folder_that_cannot_be_one(stored_run: Callable, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("important")
    with pytest.raises(UserError, match=f"--teacher-cache .* {tmp_path}/file: not a folder"):
        stored_run(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "important"
