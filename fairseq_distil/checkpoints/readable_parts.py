"""What training has in types or storages that safe loading refuses, in those that it takes."""

from collections import Counter, OrderedDict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairseq_distil.checkpoints.pickle_parts import is_without_gaps
from fairseq_distil.checkpoints.tensor_check import MOST_NAMES_OF_A_TENSOR, is_dense


def readable(value: Any, names_of_storage: Counter[int] | None = None) -> Any:
    """The same without numpy's scalars, as which some of fairseq's metrics come, and without views.

    A tensor that is a part of a storage, such as a parameter among others of one tensor, gets a storage of its own; so
    does one whose values have too many names already. No other values are copied.
    """
    names_of_storage = Counter() if names_of_storage is None else names_of_storage
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Tensor):
        return _in_a_whole_storage(value, names_of_storage) if is_dense(value) else value
    if type(value) in (dict, OrderedDict):
        made = type(value)((key, readable(part, names_of_storage)) for key, part in value.items())
        if type(value) is OrderedDict:
            vars(made).update(vars(value))  # a state dict's versions of modules
        return made
    if type(value) in (list, tuple):
        return type(value)(readable(part, names_of_storage) for part in value)
    return value


def _in_a_whole_storage(tensor: Tensor, names_of_storage: Counter[int]) -> Tensor:
    storage = tensor.untyped_storage()
    names_of_storage[storage.data_ptr()] += 1
    is_whole = tensor.numel() * tensor.element_size() == storage.nbytes()
    is_plain = tensor.numel() == 0 or is_without_gaps(tensor.shape, tensor.stride())
    if is_whole and is_plain and names_of_storage[storage.data_ptr()] <= MOST_NAMES_OF_A_TENSOR:
        return tensor
    return tensor.detach().clone(memory_format=torch.contiguous_format)
