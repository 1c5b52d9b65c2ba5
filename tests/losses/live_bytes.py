"""How much memory operations hold at a time, counted tensor by tensor."""

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Follows the memory of every tensor that an operation makes, forward and backward, until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: tuple = (), keywords: dict | None = None
    ) -> Any:
        outputs = operation(*arguments, **(keywords or {}))
        given = {storage._cdata for storage in _storages((arguments, keywords))}
        made = {storage._cdata: storage for storage in _storages(outputs) if storage._cdata not in given}
        for storage in made.values():
            self._add(storage.nbytes())
            weakref.finalize(storage, self._add, -storage.nbytes())
        return outputs

    def _add(self, change: int) -> None:
        self.now += change
        self.peak = max(self.peak, self.now)


def _storages(tree: Any) -> Iterator[torch.UntypedStorage]:
    return (leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
