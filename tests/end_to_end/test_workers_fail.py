"""Two workers that train together: what one of them cannot do, all of them are told."""

import io
import re
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from .commands import ForkedCommands, Run, wait_for_all
from .conftest import STUDENT, UPDATES_AN_EPOCH, Options, StartScript
from .test_resume import assert_ended_alike

pytestmark = pytest.mark.timeout(1200)  # pairs of processes, one after the other, on a machine that does much else
KILLED_IN_VALIDATION = """
import os, signal, sys
import torch
from fairseq.trainer import Trainer
from fairseq_cli import train

_, update, *options = sys.argv
sys.argv = ["fairseq-train", *options]
valid_step_as_ever = Trainer.valid_step

def valid_step(self, *sample, **settings):
    if self.get_num_updates() == int(update) and torch.distributed.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return valid_step_as_ever(self, *sample, **settings)

Trainer.valid_step = valid_step
train.cli_main()
"""
OUT_OF_MEMORY = """
import sys
import torch
from fairseq_cli import train
from fairseq_distil.criterions import DistillationCriterion

_, failures, *options = sys.argv
sys.argv = ["fairseq-train", *options]
left = iter(range(int(failures)))
forward_as_ever = DistillationCriterion.forward

def forward(self, model, sample, *rest):
    if not self.training and torch.distributed.get_rank() == 1 and next(left, None) is not None:
        raise torch.OutOfMemoryError("out of memory")
    return forward_as_ever(self, model, sample, *rest)

DistillationCriterion.forward = forward
train.cli_main()
"""
NOT_A_NUMBER = """
import sys
import torch
from fairseq_cli import train
from fairseq_distil.criterions import DistillationCriterion

_, first_batch, *options = sys.argv
sys.argv = ["fairseq-train", *options]
forward_as_ever, batches = DistillationCriterion.forward, []

def forward(self, model, sample, *rest):
    loss, size, logged = forward_as_ever(self, model, sample, *rest)
    batches.extend([sample["id"].tolist()] * self.training)
    if self.training and len(batches) >= int(first_batch) and torch.distributed.get_rank() == 1:
        print("spoiled", batches[int(first_batch) - 1], flush=True)
        loss = sum(p.sum() for p in model.parameters() if p.requires_grad) * float("nan")
    return loss, size, logged

DistillationCriterion.forward = forward
train.cli_main()
"""


@pytest.mark.parametrize("ddp_backend", ["pytorch_ddp", pytest.param("legacy_ddp", marks=pytest.mark.slow)])
def test_one_workers_gradient_is_not_finite(ddp_backend: str, start_script: StartScript, tmp_path: Path) -> None:
    """It tells its own samples; the other one does not blame those that it had."""
    workers, _ = start_script(NOT_A_NUMBER, 7, ddp_backend=ddp_backend)
    first, second = wait_for_all(workers, tmp_path)
    assert second.exit_status == first.exit_status == 1
    spoiled = re.search(r"spoiled \[([0-9, ]*)\]", second.stdout)[1]
    second.assert_one_error_line("is not finite in the batch of samples " + spoiled)
    assert "module." not in second.stderr
    assert "is not finite in the batch of samples" not in first.stderr
    assert "Traceback" not in first.stderr
    assert first.checkpoint()["optimizer_history"][-1]["num_updates"] == STUDENT["save_interval_updates"]


@pytest.mark.slow
def test_kill_in_the_validation_that_ends_an_epoch(
    start_script: StartScript, start_again: Callable[[], Run], two_workers: Run, tmp_path: Path
) -> None:
    """The means of the epoch, which are told after the validation, are not lost."""
    workers, _ = start_script(KILLED_IN_VALIDATION, UPDATES_AN_EPOCH)
    first, second = wait_for_all(workers, tmp_path)
    assert second.exit_status == -signal.SIGKILL
    first.assert_one_error_line("another worker of this run has ended")
    assert first.checkpoint()["optimizer_history"][-1]["num_updates"] == UPDATES_AN_EPOCH
    assert first.logged("train") == []
    assert_ended_alike(start_again(), two_workers, from_update=1)


def damaged(checkpoint: bytes) -> bytes:
    return checkpoint[:-100]


def foreign(_: bytes) -> bytes:
    """A file that torch reads, but fairseq does not."""
    torch.save({"weights": torch.zeros(3)}, file := io.BytesIO())
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "changed", "expected"),
    [
        (damaged, {}, "checkpoint_last.pt: damaged, and no other checkpoint in this folder is whole"),
        (foreign, {}, "checkpoint_last.pt: not a fairseq checkpoint: it has no model"),
        pytest.param(bytes, {"encoder_layers": 3}, "not those of the encoder that the", marks=pytest.mark.slow),
    ],
)
def test_a_checkpoint_that_is_refused(
    content: Callable[[bytes], bytes],
    changed: dict[str, int],
    expected: str,
    commands: ForkedCommands,
    worker_options: Options,
    two_workers: Run,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Each of them tells it, and none of them waits for the other one."""
    whole = (two_workers.save_dir / "checkpoint_last.pt").read_bytes()
    (tmp_path / "checkpoint_last.pt").write_bytes(content(whole))
    options = partial(worker_options, tmp_path, **changed)
    for run in wait_for_all(commands.start_workers(options, 2, tmp_path_factory.mktemp("meeting")), tmp_path):
        run.assert_one_error_line(expected)
        assert run.exit_status == 1


@pytest.mark.parametrize("failures", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_memory_runs_out_in_validation(
    failures: int,
    start_script: StartScript,
    start_again: Callable[[], Run],
    two_workers: Run,
    tmp_path: Path,
) -> None:
    """fairseq tries the batch once more; where that fails as well, none of them waits for ever."""
    workers, _ = start_script(OUT_OF_MEMORY, failures)
    first, second = wait_for_all(workers, tmp_path)
    if failures == 2:
        second.assert_one_error_line("memory ran out twice for a batch of validation", "--batch-size-valid")
        first.assert_one_error_line("another worker of this run has ended")
        assert first.checkpoint()["optimizer_history"][-1]["num_updates"] == STUDENT["save_interval_updates"]
        first = start_again()
    assert_ended_alike(first.assert_succeeded(), two_workers, from_update=1)
