"""Files as torch writes them, of pickles that it would not write."""

import collections
import io
import pickle
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple

import torch
from torch.serialization import MAGIC_NUMBER, PROTOCOL_VERSION


class Call:
    """What a pickle makes by calling a function, giving what comes of it attributes, and setting its items."""

    def __init__(self, function: Any, *arguments: Any, attributes: Any = None, items: dict | None = None) -> None:
        self.reduced = (function, arguments, attributes, None, iter(items.items()) if items else None)

    def __reduce__(self) -> tuple:
        return self.reduced


class Values(NamedTuple):
    """A storage by its key."""

    key: str = "0"
    count: Any = 4
    kind: type = torch.FloatStorage
    location: Any = "cpu"


class Id(tuple):
    """A persistent id, whatever it is."""


class Pickler(pickle._Pickler):
    def __init__(self, file: BinaryIO, is_old: bool) -> None:
        super().__init__(file, 2)
        self.is_old = is_old

    def persistent_id(self, obj: Any) -> tuple | None:
        if isinstance(obj, Id):
            return tuple(obj)
        if isinstance(obj, Values):
            id_ = ("storage", obj.kind, obj.key, obj.location, obj.count)
            return (*id_, None) if self.is_old else id_
        return None


def pickled(content: Any, is_old: bool = False) -> bytes:
    file = io.BytesIO()
    Pickler(file, is_old).dump(content)
    return file.getvalue()


def zipped(pickle_: bytes, records: dict[str, bytes]) -> bytes:
    """A file of torch's present format, with the values of storages by their keys."""
    file = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(file)
    values = {f"data/{key}": content for key, content in records.items()}
    for name, content in {"data.pkl": pickle_, "byteorder": b"little", **values}.items():
        writer.write_record(name, content, len(content))
    writer.write_end_of_file()
    return file.getvalue()


def old_format(content: Any, keys: Any, storages: Sequence[bytes]) -> bytes:
    """A file of torch before 1.6; each storage begins with its length."""
    machine = {"protocol_version": PROTOCOL_VERSION, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [pickle.dumps(part, 2) for part in (MAGIC_NUMBER, PROTOCOL_VERSION, machine)]
    return b"".join([*parts, pickled(content, is_old=True), pickle.dumps(keys, 2), *storages])


FOUR_VALUES = Values()


def tensor(
    storage: Any = FOUR_VALUES, offset: Any = 0, size: Any = (4,), strides: Any = (1,), hooks: Any = None
) -> Call:
    hooks = collections.OrderedDict() if hooks is None else hooks
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, size, strides, False, hooks)
