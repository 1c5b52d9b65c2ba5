"""fairseq's wrappers for distributed training around a student, in a group of one process on a CPU."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from fairseq import models
from fairseq.distributed import utils

from fairseq_distil.errors import UserError

from .conftest import TINY, Run

# torch's, of an argument that fairseq gives its wrapper
pytestmark = pytest.mark.filterwarnings("ignore:`broadcast_buffers` is deprecated:FutureWarning")


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dist.ProcessGroup]:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # which the group replaces for good
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    yield dist.group.WORLD
    dist.destroy_process_group()


@pytest.fixture
def student_run(setup_run: Callable[..., Run], teacher_path: str, request: pytest.FixtureRequest) -> Run:
    """With settings of the criterion, where a test gives some."""
    model = {"_name": "teacher_student", "teacher": teacher_path, "encoder_layers": 2, **TINY}
    return setup_run(model, {"_name": "distillation", **getattr(request, "param", {})})


@pytest.fixture
def wrap(student_run: Run, group: dist.ProcessGroup) -> Callable[[str], torch.nn.Module]:
    def wrapped(ddp_backend: str) -> torch.nn.Module:
        settings = student_run.cfg.distributed_training
        settings.ddp_backend = ddp_backend
        return models.DistributedFairseqModel(settings, student_run.model, group, torch.device("cpu"))

    return wrapped


@pytest.mark.parametrize("ddp_backend", ["legacy_ddp", "pytorch_ddp"])
def test_workers_exchange_the_student_alone(
    student_run: Run, wrap: Callable, monkeypatch: pytest.MonkeyPatch, ddp_backend: str
) -> None:
    model = wrap(ddp_backend)
    reduced: list[int] = []
    if ddp_backend == "legacy_ddp":
        monkeypatch.setattr(utils, "all_reduce", lambda tensor, group: reduced.append(tensor.numel()))
    else:

        def count(state: None, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
            reduced.append(bucket.buffer().numel())
            future: torch.futures.Future[torch.Tensor] = torch.futures.Future()
            future.set_result(bucket.buffer())
            return future

        model.module.register_comm_hook(None, count)
    loss, _, _ = student_run.criterion(model, student_run.batch(indices=[0, 1, 2]))
    loss.backward()
    if ddp_backend == "legacy_ddp":
        model.all_reduce_grads()
    student = student_run.model
    assert sum(reduced) == sum(parameter.numel() for parameter in student.parameters())
    assert {id(tensor) for tensor in model.parameters()} == {id(tensor) for tensor in student.parameters()}
    assert model.state_dict().keys() == student.state_dict().keys()
    assert not any("teacher" in key for key in model.state_dict())
    assert all(parameter.grad is None for parameter in student.teacher.parameters())


@pytest.mark.parametrize("ddp_backend", ["legacy_ddp", "pytorch_ddp"])
def test_a_worker_without_a_batch_has_a_gradient_of_zero_for_every_parameter(
    student_run: Run, wrap: Callable, ddp_backend: str
) -> None:
    """torch's wrapper waits for the gradients of all parameters before it starts the next update."""
    model = wrap(ddp_backend)
    for _ in range(2):
        loss, sample_size, _ = student_run.criterion(model, student_run.batch(indices=[]))
        loss.backward()
        assert (loss.item(), sample_size) == (0, 0)
    for name, parameter in student_run.model.named_parameters():
        assert parameter.grad is not None and not parameter.grad.any(), name


ALONE = {"soft_target_weight": 0.0, "mlm_weight": 0.0, "cosine_weight": 0.0, "relation_weight": 1.0}


def train_twice(run: Run, model: torch.nn.Module) -> None:
    for _ in range(2):
        run.model.zero_grad()
        loss, _, _ = run.criterion(model, run.batch(indices=[0, 1, 2]))
        loss.backward()


@pytest.mark.parametrize("ddp_backend", ["legacy_ddp", "pytorch_ddp"])
@pytest.mark.parametrize("student_run", [ALONE], indirect=True)
def test_what_an_objective_does_not_read_has_no_gradient(student_run: Run, wrap: Callable, ddp_backend: str) -> None:
    """Not even one of 0, by which weight decay would shrink it."""
    model = wrap(ddp_backend)
    train_twice(student_run, model)
    if ddp_backend == "legacy_ddp":
        model.all_reduce_grads()
    with_gradient = {name.split(".")[0] for name, one in student_run.model.named_parameters() if one.grad is not None}
    assert with_gradient == {"encoder"}


@pytest.mark.parametrize("student_run", [ALONE], indirect=True)
def test_gradients_that_cannot_be_exchanged_are_told(student_run: Run, wrap: Callable) -> None:
    """They would be each worker's own, and the workers' models drift apart."""
    student_run.model.masked_lm_head.dense.requires_grad_(True)
    with pytest.raises(UserError, match=r"but masked_lm_head\.dense\.weight, masked_lm_head\.dense\.bias had none"):
        train_twice(student_run, wrap("pytorch_ddp"))
