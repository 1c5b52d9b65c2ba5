"""What the pickle of a checkpoint would make, found from its opcodes, of which none is executed.

torch's safe loading calls what it takes for harmless before anyone can look at what comes of it: text is decoded and
worked out, tensors are expanded, attributes hide methods. Here a pickle has to be what fairseq, this project and
transformers write, which is less: plain data, Namespaces, and tensors whose values are in the file.
"""

import pickletools
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple

from fairseq_distil.checkpoints.load_errors import explain_load_error, refused_object
from fairseq_distil.checkpoints.pickle_parts import (
    DICTS,
    MOST_DEPTH,
    Part,
    Storage,
    is_size,
    of_kind,
    require,
    require_tensor,
)
from fairseq_distil.errors import UserError

ORDERED_DICT = "collections OrderedDict"
NAMESPACE = "argparse Namespace"
TENSOR = "torch._utils _rebuild_tensor_v2"
PARAMETER = "torch._utils _rebuild_parameter"
BYTES_OF_VALUE = {
    **{f"torch {kind}Storage": 8 for kind in ("Double", "Long")},
    **{f"torch {kind}Storage": 4 for kind in ("Float", "Int")},
    **{f"torch {kind}Storage": 2 for kind in ("Half", "BFloat16", "Short")},
    **{f"torch {kind}Storage": 1 for kind in ("Char", "Byte", "Bool")},
}
GLOBALS = {ORDERED_DICT, NAMESPACE, TENSOR, PARAMETER, *BYTES_OF_VALUE}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
SCALARS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"}
TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
MOST_BYTES = 2**24
"""Of a pickle, without the values of tensors; a vocabulary of 250,000 pieces takes 5 million."""
MOST_PARTS = 2**20
"""Tensors, their sizes, and all that has parts; an encoder of 24 layers, with its optimiser's state, takes 10,000."""


class Content(NamedTuple):
    """What a pickle would make."""

    value: Any
    """plain values as they are, all others as a :class:`Part`"""
    storages: dict[str, Storage]
    """by their keys"""


def check_pickle(file: BinaryIO) -> Content:
    """Read one pickle of ``file``, up to its end.

    Raises:
        UserError: it is damaged, or would make anything but plain data and tensors of storages, in time and memory
            that grow with its size
    """
    machine, start = _Machine(), file.tell()
    try:
        for opcode, argument, position in pickletools.genops(file):
            require(position - start < MOST_BYTES, f"has more than {MOST_BYTES:,} bytes")
            machine.step(opcode.name, argument)
        return Content(machine.stack.pop(), machine.storages)
    except UserError:
        raise
    except Exception as error:  # damage can make anything of a pickle
        raise UserError(explain_load_error(error)) from error


class _Machine:
    """The stacks of torch's safe unpickler, with stand-ins on them."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.parts = 0
        self.actions = {
            "MARK": self._mark,
            "EMPTY_LIST": lambda: self._make("list"),
            "EMPTY_DICT": lambda: self._make("dict"),
            "TUPLE": lambda: self._make_tuple(self._pop_marked()),
            "APPEND": lambda: self._extend([self.stack.pop()]),
            "APPENDS": lambda: self._extend(self._pop_marked()),
            "SETITEM": lambda: self._set([self.stack.pop(), self.stack.pop()][::-1]),
            "SETITEMS": lambda: self._set(self._pop_marked()),
            "NEWOBJ": self._make_namespace,
            "REDUCE": self._call,
            "BUILD": self._give_attributes,
            "BINPERSID": self._find_storage,
        }

    def step(self, opcode: str, argument: Any) -> None:
        """What torch would do at an opcode; it knows no others than these."""
        if opcode in SCALARS:
            self.stack.append(argument)
        elif opcode in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif opcode in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif opcode in CONSTANTS:
            self.stack.append(CONSTANTS[opcode])
        elif opcode in TUPLES:
            self._make_tuple([self.stack.pop() for _ in range(TUPLES[opcode])][::-1])
        elif opcode == "GLOBAL":
            self._name(argument)
        elif opcode not in ("PROTO", "STOP"):
            require(opcode in self.actions, f"has {opcode}, which torch does not write")
            self.actions[opcode]()

    def _make(self, kind: str, items: Iterable[Any] = (), is_value: bool = True) -> Part:
        self.parts += 1
        require(self.parts <= MOST_PARTS, f"has more than {MOST_PARTS:,} parts")
        self.stack.append(made := Part(kind, list(items), is_value=is_value))
        return made

    def _mark(self) -> None:
        require(len(self.marked) < MOST_DEPTH, f"has more than {MOST_DEPTH} levels")
        self.marked.append(self.stack)
        self.stack = []

    def _pop_marked(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def _make_tuple(self, items: list[Any]) -> None:
        made = self._make("tuple", items)
        for item in items:
            made.hold(item)
            made.is_value &= not isinstance(item, Part) or item.is_value

    def _extend(self, items: list[Any]) -> None:
        target = of_kind(self.stack[-1], "list")
        for item in items:
            target.put(item)
        target.items += items

    def _set(self, items: list[Any]) -> None:
        target = of_kind(self.stack[-1], *DICTS)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target.set(key, value)

    def _name(self, name: str) -> None:
        if name not in GLOBALS:
            raise UserError(refused_object(name.replace(" ", ".")))
        self._make("global", [name], is_value=False)

    def _make_namespace(self) -> None:
        arguments, made = of_kind(self.stack.pop(), "tuple"), of_kind(self.stack.pop(), "global")
        require(made.items == [NAMESPACE] and not arguments.items, "makes an object that is no Namespace")
        self._make("Namespace")

    def _give_attributes(self) -> None:
        """torch copies them, so a dictionary may be those of one object alone."""
        attributes, target = of_kind(self.stack.pop(), "dict"), of_kind(self.stack[-1], "Namespace", "OrderedDict")
        is_fine = attributes.is_attributes if target.kind == "Namespace" else attributes.has_metadata
        require(is_fine and not attributes.is_complete, f"has attributes that do not belong to a {target.kind}")
        target.hold(attributes)

    def _call(self) -> None:
        arguments = of_kind(self.stack.pop(), "tuple").items
        called = of_kind(self.stack.pop(), "global").items[0]
        if called == ORDERED_DICT:
            require(not arguments, "makes an OrderedDict of something")
            self._make("OrderedDict")
            return
        require(called in (TENSOR, PARAMETER), f"calls {called.replace(' ', '.')}")
        *values, needs_gradient, hooks = arguments
        is_plain = type(needs_gradient) is bool and of_kind(hooks, "OrderedDict").is_empty
        require(is_plain, "has a tensor with hooks")
        if called == TENSOR:
            require_tensor(*values)
        else:
            (tensor,) = values
            of_kind(tensor, "tensor")
        self._make("tensor")

    def _find_storage(self) -> None:
        word, kind, key, location, count, *view = of_kind(self.stack.pop(), "tuple").items
        bytes_of_value = BYTES_OF_VALUE.get(of_kind(kind, "global").items[0])
        is_written = word == "storage" and type(key) is type(location) is str and view in ([], [None])
        is_fine = is_written and is_size(count) and bytes_of_value is not None
        require(is_fine, "has a storage that torch does not write")
        storage = Storage(key, count, bytes_of_value)
        require(self.storages.setdefault(key, storage) == storage, f"has two storages {key!r}")
        self._make("storage", [storage], is_value=False)
