"""Pickles that torch writes pass; others are refused before anything is made of them.

Most of these were files that hung, filled the memory, read the environment, or passed for what they were not.
"""

import _codecs
import argparse
import collections
import io
import pickle
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, ListConfig

from fairseq_distil.checkpoints import pickle_check
from fairseq_distil.checkpoints.pickle_check import MOST_BYTES, check_pickle
from fairseq_distil.checkpoints.pickle_parts import Storage
from fairseq_distil.errors import UserError

from .crafted import Call, Id, Values, pickled, tensor

OrderedDict = collections.OrderedDict
Namespace = argparse.Namespace


def refusal(content: bytes) -> str:
    with pytest.raises(UserError) as error:
        check_pickle(io.BytesIO(content))
    return str(error.value).removeprefix("not a checkpoint that can be loaded safely, or damaged: its pickle ")


def written(content: Any) -> bytes:
    """The pickle in what torch writes."""
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return torch._C.PyTorchFileReader(file).get_record("data.pkl")


def test_what_training_writes() -> None:
    linear = torch.nn.Linear(5, 3)
    optimizer = torch.optim.AdamW(linear.parameters(), fused=True)
    linear(torch.ones(5)).sum().backward()
    optimizer.step()
    state = {
        "args": Namespace(arch="x", betas=(0.9, 0.98), none=None, nested=Namespace(x=[1, {"a": True}])),
        "model": linear.state_dict(),
        "parameter": linear.weight,
        "last_optimizer_state": optimizer.state_dict(),
        "views": (torch.ones(4, 6).T, torch.ones(9, 2)[3:5], torch.ones(7)[2], torch.ones(0, 3), torch.ones(1, 3).T),
        "kinds": [torch.ones(3).to(kind) for kind in (torch.float16, torch.bfloat16, torch.int64, torch.bool)],
        "numbers": [-1, 2**31, 2**70, 1e-6, float("nan"), "é\ud800"],
    }
    content = check_pickle(io.BytesIO(written(state)))
    assert content.value.kind == "dict" and len(content.storages) == 2 + 6 + 5 + 4
    assert content.storages["0"] == Storage("0", count=15, bytes_of_value=4)


def test_long_lists_and_dictionaries() -> None:
    content = check_pickle(io.BytesIO(pickled([{number: str(number) for number in range(3000)}, list(range(3000))])))
    assert content.value.items[1].items == list(range(3000))


def test_no_more_than_one_pickle_is_read() -> None:
    file = io.BytesIO(pickle.dumps(5, 2) + pickle.dumps(["a", "b"], 2))
    assert check_pickle(file).value == 5
    assert check_pickle(file).value.items == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (Call(list, Call(ListConfig, ["${oc.env:HOME}"])), "__builtin__.list"),
        (Call(DictConfig, {"a": "x", "b": "${a}${a}"}), "omegaconf.dictconfig.DictConfig"),
        (Call(_codecs.encode, "一" * 9, "punycode"), "_codecs.encode"),
        (Call(set, [1]), "__builtin__.set"),
        (Call(bytearray, 2**40), "__builtin__.bytearray"),
        (Call(collections.Counter, {}), "collections.Counter"),
        (Call(torch.Tensor, 2**40), "torch.Tensor"),
        (torch.nn.Parameter, "torch.nn.parameter.Parameter"),
        (torch.float64, "torch.float64"),
        (Call(torch._utils._rebuild_parameter_with_state, tensor(), False, {}, {"numel": int}), "torch._utils._rebuil"),
        (Call(torch._utils._rebuild_device_tensor_from_cpu_tensor, tensor(), 1, "cpu", False), "torch._utils._rebuild"),
        (torch.ones(2).to_sparse(), "torch._utils._rebuild_sparse_tensor"),
        (torch.ones(2, device="meta"), "torch._utils._rebuild_meta_tensor_no_storage"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_types_and_functions(content: Any, name: str) -> None:
    data = written(content) if isinstance(content, torch.Tensor) else pickled(content)
    assert refusal(data).startswith(f"holds objects that safe loading refuses, the first of them {name}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tensor(size=(10**12,), strides=(0,)), "claims more values than its storage holds"),
        (tensor(size=(2, 2), strides=(0, 1)), "is a view of scattered values"),
        (tensor(size=(2,), strides=(2,)), "is a view of scattered values"),
        (tensor(size=(2, 2), strides=(1, 1)), "is a view of scattered values"),
        (tensor(offset=1), "claims more values than its storage holds"),
        (tensor(offset=-1), "of impossible sizes"),
        (tensor(size=(-4,)), "of impossible sizes"),
        (tensor(strides=(-1,)), "of impossible sizes"),
        (tensor(size=(True,)), "of impossible sizes"),
        (tensor(size=(1.0,)), "of impossible sizes"),
        (tensor(size=(2, 2)), "of impossible sizes"),
        (tensor(size=(1,) * 17, strides=(1,) * 17), "of impossible sizes"),
        (tensor(size=[4]), "something else in the place of a tuple"),
        (tensor(storage=tensor()), "something else in the place of a storage"),
        (tensor(hooks=OrderedDict(a=1)), "with hooks"),
        (tensor(hooks={}), "something else in the place of a OrderedDict"),
        ([tensor(), tensor(Values(count=5))], "two storages '0'"),
        ([tensor(), tensor(Values(kind=torch.IntStorage)), tensor(Values(kind=torch.LongStorage))], "two storages '0'"),
        (tensor(Values(count=-4)), "a storage that torch does not write"),
        (tensor(Values(count="4")), "a storage that torch does not write"),
        (tensor(Values(key=("0",))), "a storage that torch does not write"),
        (tensor(Values(kind=OrderedDict)), "a storage that torch does not write"),
        (tensor(Id(("module", OrderedDict, "0", "cpu", 4))), "a storage that torch does not write"),
        (Call(torch._utils._rebuild_parameter, 5, False, OrderedDict()), "something else in the place of a tensor"),
    ],
)
def test_tensors_whose_values_are_not_in_the_file(content: Any, reason: str) -> None:
    assert reason in refusal(pickled(content))


@pytest.mark.parametrize("view", [torch.zeros(1).expand(5), torch.zeros(4, 6)[:, 1:3]])
def test_views_are_refused_with_what_to_do(view: torch.Tensor) -> None:
    assert refusal(written({"weight": view})).endswith("; save it again with a clone() of each tensor")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (Call(OrderedDict, attributes={"items": 5, "values": 5}, items={"w": tensor()}), "belong to a OrderedDict"),
        (Call(OrderedDict, attributes={"_metadata": 5}), "belong to a OrderedDict"),
        (Call(OrderedDict, attributes={"_metadata": {"": {"version": "1"}}}), "belong to a OrderedDict"),
        (Call(OrderedDict, attributes=[5]), "something else in the place of a dict"),
        (Call(OrderedDict, [["a", 1]]), "makes an OrderedDict of something"),
        (Call(torch.FloatStorage, 2**40), "calls torch.FloatStorage"),
        ([OrderedDict], "has a type or function in the place of a value"),
        ([(OrderedDict,)], "has a type or function in the place of a value"),
        ({"a": OrderedDict}, "has a type or function in the place of a value"),
        ({(1, 2): 3}, "has a key that is neither text nor a small number"),
        ({2**61 - 1: 3}, "has a key that is neither text nor a small number"),
        ({0.5: 3}, "has a key that is neither text nor a small number"),
        ({True: 3}, "has a key that is neither text nor a small number"),
        ({None: 3}, "has a key that is neither text nor a small number"),
    ],
)
def test_attributes_keys_and_places(content: Any, reason: str) -> None:
    assert reason in refusal(pickled(content))


def namespace(attributes: bytes) -> bytes:
    return b"\x80\x02cargparse\nNamespace\n)\x81" + attributes + b"b."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (namespace(b"}X\x09\x00\x00\x00__class__K\x05s"), "has attributes that do not belong to a Namespace"),
        (namespace(b"}K\x01K\x05s"), "has attributes that do not belong to a Namespace"),
        (namespace(b"]"), "something else in the place of a dict"),
        (
            b"\x80\x02}q\x00cargparse\nNamespace\n)\x81h\x00b\x85cargparse\nNamespace\n)\x81h\x00b.",
            "do not belong to a",
        ),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "makes an object that is no Namespace"),
        (b"\x80\x02cargparse\nNamespace\n)R.", "calls argparse.Namespace"),
        (b"\x80\x02]q\x00h\x00a.", "changes what something else holds"),
        (b"\x80\x02]q\x00\x85h\x00K\x01a.", "changes what something else holds"),
        (b"\x80\x02]" + b"\x85" * 100 + b".", "has more than 100 levels"),
        (b"\x80\x02" + b"(" * 101 + b".", "has more than 100 levels"),
        (b"\x80\x02K\x05K\x05\x85R.", "something else in the place of a global"),
        (b"\x80\x02K\x01Q.", "something else in the place of a tuple"),
        (b"\x80\x02U\x01a.", "has SHORT_BINSTRING, which torch does not write"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "has SHORT_BINUNICODE, which torch does not write"),
        (b"\x80\x02cos\nsystem\n.", "refuses, the first of them os.system"),
        (b"\x80\x02ctorch\nFloatStorage \n.", "refuses, the first of them torch.FloatStorage"),
    ],
)
def test_opcodes(content: bytes, reason: str) -> None:
    assert reason in refusal(content)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"cos\n", b"\x80\x02K\x01", b"\x80\x02" + b"(" * 9 + b".", b"\x80\x02}K\x01s."),
        *(b"\x80\x02}(K\x01u.", b"\x80\x02h\x07.", b"\x80\x02K\x01\x86.", b"\x80\x02e."),
    ],
)
def test_damaged_pickles(content: bytes) -> None:
    assert refusal(content).startswith("not a checkpoint that can be loaded safely, or damaged")


def test_lists_that_double_are_refused() -> None:
    """torch's optimisers and fairseq's broadcast walk through them as often as they are held."""
    doubled: list[Any] = [1.0]
    for _ in range(20):
        doubled = [doubled, doubled]
    assert refusal(pickled({"extra": doubled})).endswith("has more than 1,048,576 values")


def test_tuples_that_double_are_not_followed() -> None:
    """As a key, such a tuple was hashed for ever."""
    doubled = b"q\x00h\x00\x86"
    tuples = b"K\x01\x85" + doubled * 15
    assert "neither text nor a small number" in refusal(b"\x80\x02}" + tuples + b"K\x01s.")
    assert check_pickle(io.BytesIO(b"\x80\x02" + tuples + b".")).value.depth == 16
    assert refusal(b"\x80\x02" + tuples + doubled * 30 + b".").endswith("has more than 1,048,576 values")


def test_a_pickle_is_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(pickled(["x" * MOST_BYTES])) == f"has more than {MOST_BYTES:,} bytes"
    monkeypatch.setattr(pickle_check, "MOST_PARTS", 99)
    assert check_pickle(io.BytesIO(b"\x80\x02" + b"]" * 99 + b".")).value.kind == "list"
    assert refusal(b"\x80\x02" + b"]" * 100 + b".") == "has more than 99 parts"
