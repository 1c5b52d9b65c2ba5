"""Stand-ins for what a pickle would make, and what may be made of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fairseq_distil.checkpoints.load_errors import CLONE, NOT_A_CHECKPOINT
from fairseq_distil.errors import UserError

METADATA = "_metadata"
"""The one attribute of a state dict: versions of its modules, and whether tensors are to take their places."""
DICTS = ("dict", "OrderedDict")
MOST_DEPTH = 100
MOST_DIMENSIONS = 16
LARGEST_KEY = 2**31
MOST_VALUES = 2**20
"""Of one object with all that it holds, as often as it holds it: where each level holds the one below twice, a small
file has more than can be walked through."""


class Storage(NamedTuple):
    """Values that tensors are views of."""

    key: str
    count: int
    bytes_of_value: int


@dataclass(eq=False, slots=True)
class Part:
    """Stands for an object that is no plain value."""

    kind: str
    items: list[Any] = field(default_factory=list)
    """of tuples and lists; of a storage or global, what it is"""
    depth: int = 1
    values: int = 1
    """it and all that it holds"""
    is_value: bool = True
    """whether lists and dictionaries may hold it"""
    is_complete: bool = False
    """whether something holds it, after which it must not change: this makes circles impossible"""
    is_empty: bool = True
    is_of_counts: bool = True
    """whether all that a dictionary holds are whole numbers or booleans; ``is_metadata``, dictionaries of these"""
    is_metadata: bool = True
    is_attributes: bool = True
    """whether its keys are names of settings; ``has_metadata``, whether it is the one attribute of a state dict"""
    has_metadata: bool = True

    def hold(self, item: Any) -> None:
        """Note that ``item`` becomes a part of this."""
        self.values += item.values if isinstance(item, Part) else 1
        require(self.values <= MOST_VALUES, f"has more than {MOST_VALUES:,} values")
        if isinstance(item, Part):
            item.is_complete = True
            self.depth = max(self.depth, item.depth + 1)
            require(self.depth <= MOST_DEPTH, f"has more than {MOST_DEPTH} levels")
        require(not self.is_complete, "changes what something else holds")

    def put(self, item: Any) -> None:
        """The same, of a list or dictionary, which hold values alone."""
        require(not isinstance(item, Part) or item.is_value, "has a type or function in the place of a value")
        self.hold(item)
        self.is_empty = False

    def set(self, key: Any, value: Any) -> None:
        """Note an entry of a dictionary. Other keys could have any number of parts, or all the same hash."""
        is_small = type(key) is int and -LARGEST_KEY <= key < LARGEST_KEY
        require(type(key) is str or is_small, "has a key that is neither text nor a small number")
        self.put(value)
        is_dict = isinstance(value, Part) and value.kind in DICTS
        self.is_of_counts &= type(value) in (int, bool)
        self.is_metadata &= is_dict and value.is_of_counts
        self.is_attributes &= type(key) is str and not key.startswith("__")
        self.has_metadata &= key == METADATA and is_dict and value.is_metadata


def require(is_fine: bool, reason: str) -> None:
    """Raise a UserError unless it is so."""
    if not is_fine:
        raise UserError(f"{NOT_A_CHECKPOINT}: its pickle {reason}")


def of_kind(part: Any, *kinds: str) -> Part:
    """The part itself, which must be of one of the kinds."""
    require(isinstance(part, Part) and part.kind in kinds, f"has something else in the place of a {kinds[0]}")
    return part


def is_size(value: Any) -> bool:
    """Whether it is a whole number from 0."""
    return type(value) is int and value >= 0


def require_tensor(storage: Any, offset: Any, size: Any, strides: Any) -> None:
    """Each value of a tensor has a place of its own in the storage, and there are none between them."""
    values = of_kind(storage, "storage").items[0]
    lengths, steps = of_kind(size, "tuple").items, of_kind(strides, "tuple").items
    is_fine = len(lengths) == len(steps) <= MOST_DIMENSIONS and all(map(is_size, [offset, *lengths, *steps]))
    require(is_fine, "has a tensor of impossible sizes")
    is_held = offset + math.prod(lengths) <= values.count
    require(is_held, f"has a tensor that claims more values than its storage holds; {CLONE}")
    is_plain = 0 in lengths or is_without_gaps(lengths, steps)
    require(is_plain, f"has a tensor that is a view of scattered values; {CLONE}")


def is_without_gaps(lengths: Sequence[int], steps: Sequence[int]) -> bool:
    """Whether the values of a tensor of these sizes and strides follow each other, in whatever order of dimensions."""
    expected = 1
    for step, length in sorted((step, length) for length, step in zip(lengths, steps, strict=True) if length != 1):
        if step != expected:
            return False
        expected *= length
    return True
