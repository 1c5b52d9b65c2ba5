"""What the workers of a distributed training tell each other."""

from collections.abc import Callable
from typing import Any

import torch.distributed as dist

from fairseq_distil.errors import UserError


def gather_from_workers(value: Any) -> list[Any]:
    """What every worker passes, in the order of their ranks; each of them must call this.

    Not by fairseq, whose way of gathering what has no sum needs a GPU and ends at 16 KiB.
    """
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def act_first(is_first: bool, act: Callable[[], object]) -> None:
    """Let the first worker do what the others need; each of them must call this, and goes on when it is done.

    Args:
        is_first: whether this is the one that acts
        act: what it does

    Raises:
        UserError, OSError: in all workers, what the first one has raised
    """
    mistake = None
    if is_first:
        try:
            act()
        except (UserError, OSError) as error:
            mistake = error
    for found in gather_from_workers(mistake):
        if found is not None:
            raise found
