"""A term that is one file more in a copy of the package: its options, its loss and its gradient are there."""

import math
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ..forked_processes import ENVIRONMENT, ROOT
from .commands import FOLDER, Run
from .conftest import Options

FILE = """
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn.functional import kl_div

from .activations import Activations
from .term import ActivationTerm, register_term


@dataclass
class PlainOptions:
    plain_weight: float = field(default=0.0, metadata={"help": "weight of KL(teacher || student)"})


@register_term
class PlainTerm(ActivationTerm):
    options = PlainOptions
    weight_name = "plain_weight"
    loss_name = "plain_loss"
    needs_masked_lm_heads = True

    def total(self, activations: Activations) -> Tensor:
        model = activations.model
        student = model.vocabulary_projection(activations.student_rows())
        teacher = model.teacher_projection(activations.teacher_rows())
        logits = [one.features @ one.weight.T + one.bias for one in (student, teacher)]
        student_log, teacher_log = (one.log_softmax(-1) for one in logits)
        return kl_div(student_log, teacher_log, reduction="sum", log_target=True)
"""
SETTINGS = {
    "student_init": "random",
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "mlm_weight": 0.0,
    "cosine_weight": 0.0,
    "max_update": 2,
}


@pytest.fixture
def train(distillation_options: Options, tmp_path: Path) -> Callable[..., Run]:
    """Runs fairseq-train on a copy of the package with the file; of the published terms soft targets alone are on."""
    package = tmp_path / "fairseq_distil"
    shutil.copytree(ROOT / "fairseq_distil", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "criterions" / "terms" / "plain.py").write_text(FILE)

    def run(name: str, **settings: float) -> Run:
        options = distillation_options(tmp_path / name, user_dir=package, **SETTINGS | settings)
        environment = ENVIRONMENT | {"PYTHONPATH": str(tmp_path)}
        ended = subprocess.run(
            [FOLDER / "fairseq-train", *options], capture_output=True, text=True, env=environment, cwd=tmp_path
        )
        return Run(ended.returncode, ended.stdout, ended.stderr, tmp_path / name).assert_succeeded()

    return run


def test_is_part_of_the_objective(train: Callable[..., Run]) -> None:
    """Alone it trains what the soft-target term does at a temperature of 1, whose loss is told in bits."""
    found = train("plain", plain_weight=5.0, soft_target_weight=0.0)
    expected = train("like", soft_target_temperature=1.0)
    logged, as_logged = (run.logged("train_inner") for run in (found, expected))
    assert [record.keys() & {"plain_loss", "soft_target_loss"} for record in logged] == [{"plain_loss"}] * 2
    for record, like in zip(logged, as_logged, strict=True):
        assert "plain_loss" not in like
        assert float(record["plain_loss"]) == pytest.approx(float(like["soft_target_loss"]) * math.log(2), abs=5e-4)
        assert float(record["plain_loss"]) > 0.01
        assert float(record["loss"]) == pytest.approx(float(like["loss"]), abs=2e-3)
    for name, weights in expected.weights().items():
        assert found.weights()[name].numpy() == pytest.approx(weights.numpy(), abs=2e-5), name
