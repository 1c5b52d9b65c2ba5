"""What a student learns from a batch, and a teacher that must not run for it."""

from typing import Any

from torch import Tensor


def results(run, sample: dict[str, Any]) -> tuple[Tensor, list[Tensor]]:
    """The loss and its gradients."""
    run.model.zero_grad()
    loss, _, _ = run.criterion(run.model, sample)
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in run.model.parameters() if p.grad is not None]


def refuse_to_run(*_: Any, **__: Any) -> None:
    """Instead of a teacher's forward."""
    raise AssertionError("the teacher ran")
