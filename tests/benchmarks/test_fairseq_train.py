"""The command for fairseq-train, and reading its log."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

from fairseq_distil.benchmarks import fairseq_train
from fairseq_distil.benchmarks.fairseq_train import (
    _gpu_peak_mib,
    fairseq_train_command,
    measure_fairseq_train,
    read_moments,
)
from fairseq_distil.errors import UserError


def test_moments_of_updates() -> None:
    lines = [
        "2026-01-01 | INFO | fairseq.tasks | dictionary: 50 types\n",
        '2026-01-01 | INFO | train_inner | {"epoch": 1, "loss": "2.5", "num_updates": "2"}\n',
        '2026-01-01 | INFO | train_inner | {"epoch": 1, "loss": "1.5", "num_updates": "4", "gb_free": "63.2"}\n',
        "2026-01-01 | INFO | fairseq_cli.train | done training\n",
    ]
    moments, last_line = read_moments(lines)
    assert {update: (moment.bits, moment.gib_free) for update, moment in moments.items()} == {
        2: (2.5, None),
        4: (1.5, 63.2),
    }
    assert moments[2].arrival <= moments[4].arrival
    assert last_line == lines[-1].strip()
    assert read_moments([]) == ({}, "")


@pytest.mark.filterwarnings("ignore")  # fairseq calls Hydra by names of older versions
@pytest.mark.parametrize(
    "settings", [{"positions": "masked", "dtype": "bfloat16"}, {"objective": "masked_lm", "encoder": "roberta"}]
)
def test_the_command_means_the_case(
    settings: dict, tiny_case: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = tiny_case(**settings)
    command = fairseq_train_command(case, tmp_path, updates=6)
    monkeypatch.setattr(sys, "argv", ["fairseq-train", *command[3:]])
    namespace = options.parse_args_and_arch(options.get_training_parser(), input_args=command[3:])
    cfg = convert_namespace_to_omegaconf(namespace)
    assert (cfg.task.data, cfg.task.tokens_per_sample, cfg.task.mask_prob) == (str(tmp_path), case.length, 0.15)
    assert (cfg.dataset.batch_size, cfg.optimization.max_update, cfg.common.log_interval) == (case.batch, 6, 3)
    assert (cfg.optimization.clip_norm, cfg.optimization.lr) == (5.0, [1e-4])
    assert str(cfg.task.autocast_dtype) == ("none" if case.dtype == "float32" else case.dtype)
    model = cfg.model
    assert (model.encoder_layers, model.encoder_embed_dim, model.encoder_attention_heads) == (
        case.student_layers,
        case.width,
        case.heads,
    )
    assert (model.dropout, model.attention_dropout) == (0.1, 0.1)
    if case.distils:
        assert str(cfg.criterion.soft_target_positions) == "masked"
        assert cfg.optimizer._name == "fused_adamw"


def test_the_memory_of_a_gpu_is_what_the_log_leaves_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    total = SimpleNamespace(total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: total)
    assert _gpu_peak_mib("cuda:1", 63.2) == pytest.approx(16.8 * 1024)
    with pytest.raises(UserError, match="did not log gb_free"):
        _gpu_peak_mib("cuda:1", None)


def test_a_step_is_a_part_of_the_second_half(tiny_case: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = {3: fairseq_train.Moment(10.0, 9.0, None), 6: fairseq_train.Moment(16.0, 2.0, None)}
    monkeypatch.setattr(fairseq_train, "_moments_of_updates", lambda *_: moments)
    found = measure_fairseq_train(tiny_case(steps=3, loop="fairseq-train"))
    assert found["seconds_per_step"] == 2.0
    assert found["last_loss"] == pytest.approx(2 * math.log(2))


@pytest.mark.slow
def test_a_real_run(tiny_case: Callable) -> None:
    found = measure_fairseq_train(tiny_case(steps=1, loop="fairseq-train"))
    assert found["loop"] == "fairseq-train"
    assert found["seconds_per_step"] > 0 and found["peak_mib"] > 0
    assert 5 < found["last_loss"] < 40  # 2 nats of chance in 50 symbols are 7.8
