"""Settings, errors, and steps under autocast."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq import optim

from fairseq_distil.data.masking import smoothed_weights
from fairseq_distil.errors import UserError
from fairseq_distil.modules import autocasting

TINY_ENCODER = {"_name": "distil_encoder", "encoder_layers": 1, "encoder_embed_dim": 12}


def test_frequency_smoothing_is_by_the_counts_of_the_dictionary(setup_task: Callable) -> None:
    assert setup_task()._masking_scheme().weights is None
    task = setup_task(mask_frequency_smoothing=0.7)
    weights = task._masking_scheme().weights
    counts = np.arange(1, 42)  # those of the data of these tests
    np.testing.assert_allclose(weights[4:45], smoothed_weights(counts, 0.7))


def test_whole_words_without_a_tokenizer(setup_task: Callable) -> None:
    with pytest.raises(UserError, match="fairseq_distil_tokenizer.json: no such file"):
        setup_task(mask_whole_words=True).load_dataset("train")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mask_prob": -0.1}, r"task.mask_prob is -0.1, but must be a probability in \[0, 1\]"),
        ({"mask_prob": 1.1}, "task.mask_prob is 1.1"),
        ({"mask_prob": float("nan")}, "task.mask_prob is nan"),
        ({"leave_unmasked_prob": -0.1}, r"task.leave_unmasked_prob is -0.1, but must be a probability in \[0, 1\]"),
        ({"random_token_prob": 1.5}, "task.random_token_prob is 1.5"),
        (
            {"leave_unmasked_prob": 0.7, "random_token_prob": 0.7},
            "add up to 1.4, but are parts of one whole: at most 1",
        ),
        (
            {"mask_prob": 0.0, "repeat_masks_after": 2},
            "task.repeat_masks_after is 2, but task.mask_prob is 0, so that there are no masks; raise it, or leave rep",
        ),
        ({"mask_prob": 0.0, "mask_prob_schedule": "constant:0.3"}, "task.mask_prob_schedule is constant:0.3, but task"),
        ({"mask_prob": 0.0, "mask_whole_words": True}, "task.mask_whole_words is True, but task.mask_prob is 0"),
        ({"mask_prob": 0.0, "mask_frequency_smoothing": 0.7}, "task.mask_frequency_smoothing is 0.7, but task.mask_p"),
        ({"mask_frequency_smoothing": -0.7}, "task.mask_frequency_smoothing is -0.7, but must not be negative"),
        ({"tokens_per_sample": 2}, "task.tokens_per_sample is 2, but a sample needs at least 3 tokens"),
        ({"autocast_dtype": "float16"}, r"task.autocast_dtype float16 needs loss scaling: add --amp \(common.amp\)"),
    ],
)
def test_wrong_settings(setup_task: Callable, wrong: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        setup_task(**wrong)


def test_float16_with_loss_scaling(setup_task: Callable) -> None:
    setup_task(common={"amp": True}, autocast_dtype="float16")


def test_samples_beyond_the_positions(setup_run: Callable) -> None:
    setup_run({**TINY_ENCODER, "max_positions": 17})
    with pytest.raises(
        UserError, match=r"--tokens-per-sample \(task.tokens_per_sample\) is 17, but the model has 16 pos"
    ):
        setup_run({**TINY_ENCODER, "max_positions": 16})


def test_stored_soft_targets_that_the_criterion_does_not_read(
    setup_run: Callable, teacher_path: str, tmp_path: Path
) -> None:
    model = {"_name": "teacher_student", "teacher": teacher_path, "teacher_cache": str(tmp_path)}
    with pytest.raises(
        UserError, match=r"--teacher-cache .* keeps soft targets, but criterion masked_lm has no teacher"
    ):
        setup_run(model, {"_name": "masked_lm"}, repeat_masks_after=2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "dict.txt: no such file; prepare the data first"),
        (b"no count\nin here\n", "dict.txt: not a fairseq dictionary of "),
        (b"word 1\nword 1\n", "dict.txt: not a fairseq dictionary of "),
        (b"\xff\xfe 1\n", "dict.txt: not a fairseq dictionary of "),
    ],
)
def test_wrong_dictionary(setup_task: Callable, tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "dict.txt").write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        setup_task(data=str(tmp_path))
    assert "\n" not in str(error.value)


def test_wrong_data(setup_task: Callable, write_data: Callable, tmp_path: Path) -> None:
    task = setup_task(data=write_data(tmp_path / "data", {"train": [[5, 44]], "valid": [[5, 45]]}))
    task.load_dataset("train")
    with pytest.raises(UserError, match="valid.bin: holds id 45, but dict.txt ends at 44"):
        task.load_dataset("valid")
    with pytest.raises(UserError, match="test.idx: no such file; prepare the data first"):
        task.load_dataset("test")


def test_dictionary_that_holds_the_mask_itself(setup_task: Callable, write_data: Callable, tmp_path: Path) -> None:
    symbols = ["<mask>", "one", "two"]
    task = setup_task(data=write_data(tmp_path / "data", {"train": [[5, 6]]}, symbols))
    task.load_dataset("train")
    assert task.mask_idx == 4 and len(task.source_dictionary) == 7
    assert task.dataset("train").scheme.maskable.tolist() == [False] * 5 + [True] * 2


def test_checkpoint_of_another_dictionary(setup_task: Callable, write_data: Callable, tmp_path: Path) -> None:
    task = setup_task()
    state = task.state_dict()
    setup_task().load_state_dict(state)
    setup_task().load_state_dict({})  # a checkpoint of fairseq's own task says nothing of its symbols
    other = setup_task(data=write_data(tmp_path / "data", {}, ["word0", "other"]))
    with pytest.raises(
        UserError, match="the checkpoint has another dictionary than the data's dict.txt: 46 and 7 symb"
    ):
        other.load_state_dict(state)


@pytest.mark.parametrize(
    "criterion",
    [{"_name": "masked_lm"}, {"_name": "distillation", "soft_target_weight": 0.0, "cosine_weight": 0.0}],
    ids=["masked_lm", "distillation"],
)
def test_autocast_runs_products_in_its_type_and_keeps_float32_weights(
    setup_run: Callable, monkeypatch: pytest.MonkeyPatch, criterion: dict
) -> None:
    monkeypatch.setattr(autocasting, "cpu_has_bfloat16", lambda: True)  # slow where it is emulated, but exact
    losses, types = {}, {}
    for dtype in ("none", "bfloat16"):
        run = setup_run({**TINY_ENCODER, "dropout": 0.0}, criterion, autocast_dtype=dtype)
        feed_forward = run.model.encoder.layers[0].feed_forward_in
        feed_forward.register_forward_hook(lambda *call, dtype=dtype: types.update({dtype: call[2].dtype}))
        optimizer = optim.build_optimizer(run.cfg.optimizer, run.model.parameters())
        sample = run.batch(indices=[0, 1, 2])
        losses[dtype] = run.task.train_step(sample, run.model, run.criterion, optimizer, update_num=0)[0].item()
        assert all(p.dtype == p.grad.dtype == torch.float32 for p in run.model.parameters() if p.grad is not None)
        valid_loss = run.task.valid_step(sample, run.model, run.criterion)[0].item()
        assert valid_loss == pytest.approx(losses[dtype], rel=0.2)
    assert types == {"none": torch.float32, "bfloat16": torch.bfloat16}
    assert losses["none"] != losses["bfloat16"] == pytest.approx(losses["none"], rel=0.02)
