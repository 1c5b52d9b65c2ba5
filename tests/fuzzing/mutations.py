"""Files that were valid, with a few changes; and the changes that readers are most likely to believe."""

import copy
import io
import pickletools
import struct
from collections.abc import Callable, Sequence
from typing import Any

import torch
from hypothesis import strategies as st

SIZES = (-1, 0, 1, 2**15, 2**31 - 1, 10**12, 2**63 - 1)
PIECES = (
    *(struct.pack("<q", size) for size in SIZES),
    *(struct.pack("<i", size) for size in SIZES if abs(size) < 2**31),
    *(b"\0", b"\n", b"\r", b"\t", b" ", b"\xff", b"\xed\xa0\x80", "\u2028".encode(), b"\x1b[2J", b"[" * 3000),
)
VALUES: tuple[Any, ...] = (
    *(None, True, *SIZES, 10**30, -0.5, 1e300, float("nan"), float("inf")),
    *("", "x", "../../x", "/etc/passwd", "a\0b", "\ud800", "\x1b[2J\n", "9" * 4000, "${oc.env:HOME}", "x" * 10**6),
    *([], {}, [None], {"x": []}, [[[]]] * 3),
)
TENSORS = (
    torch.zeros(1).expand(10**12),
    torch.zeros(1, 1).expand(10**9, 12),
    torch.zeros(46, 12).to_sparse(),
    torch.zeros(46, 12, device="meta"),
    torch.zeros(46, 12, dtype=torch.complex64),
    torch.zeros(46, 12, dtype=torch.int64),
    torch.zeros(()),
    torch.zeros(0, 12),
    torch.nn.Parameter(torch.ones(12)),
)
"""What claims more than it holds, or is of a kind that no checkpoint needs."""
OPCODES = (
    *(b"c" + name + b"\n" for name in (b"__builtin__\nlist", b"collections\nOrderedDict", b"argparse\nNamespace")),
    *(
        b"c" + name + b"\n"
        for name in (b"torch\nFloatStorage", b"_codecs\nencode", b"omegaconf.listconfig\nListConfig")
    ),
    *(b"ctorch._utils\n" + name + b"\n" for name in (b"_rebuild_tensor_v2", b"_rebuild_parameter_with_state")),
    *(b")", b"\x85", b"\x86", b"\x87", b"(", b"t", b"R", b"\x81", b"b", b"a", b"e", b"s", b"u", b"Q", b"0", b"2", b"."),
    *(b"N", b"\x88", b"}", b"]", b"\x8f", b"K\x00", b"M\xff\xff", b"J\xff\xff\xff\xff", b"\x8a\x08" + b"\x7f" * 8),
    *(b"h\x00", b"h\x05", b"q\x00", b"X\x05\x00\x00\x00items", b"X\x09\x00\x00\x00_metadata"),
)
"""Of pickles, with their arguments: types and functions, what is done with them, and what may be in their places."""
REMOVED = object()

Change = Callable[[bytes], bytes]


def changed_bytes(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the seeds after up to six changes, cut off or not; or anything at all."""
    changes = st.lists(_change(), min_size=1, max_size=6)
    return st.one_of(st.builds(_apply, st.sampled_from(seeds), changes), st.binary(max_size=200))


def changed_tree(seed: Any, values: Sequence[Any] = VALUES) -> st.SearchStrategy[Any]:
    """The seed with one or two of its parts removed or replaced by a value; strings may be keys too."""
    paths = [path for path in _paths(seed) if path]
    changes = st.tuples(st.sampled_from(paths), st.sampled_from((*values, REMOVED)))
    return st.lists(changes, min_size=1, max_size=2).map(lambda chosen: _replaced(seed, chosen))


def saved(tree: Any, **settings: bool) -> bytes:
    """The file that torch writes of it."""
    file = io.BytesIO()
    torch.save(tree, file, **settings)
    return file.getvalue()


def changed_checkpoint(seed: Any) -> st.SearchStrategy[bytes]:
    """The same of a checkpoint, whose parts may become tensors too."""
    return changed_tree(seed, (*VALUES, *TENSORS)).map(saved)


def changed_opcodes(seed: bytes) -> st.SearchStrategy[bytes]:
    """A pickle with one to four of its opcodes removed, replaced, doubled, or with another before them."""
    starts = [place for _, _, place in pickletools.genops(seed)]
    opcodes = [seed[start:end] for start, end in zip(starts, [*starts[1:], len(seed)], strict=True)]
    kinds = st.sampled_from(("remove", "replace", "double", "insert"))
    changes = st.tuples(kinds, st.integers(0, len(opcodes) - 1), st.sampled_from((*OPCODES, *opcodes[:200])))
    return st.lists(changes, min_size=1, max_size=4).map(lambda chosen: _with_opcodes(opcodes, chosen))


def _with_opcodes(opcodes: list[bytes], changes: list[tuple[str, int, bytes]]) -> bytes:
    content = list(opcodes)
    for kind, place, other in changes:
        own = content[place]
        content[place] = {"remove": b"", "replace": other, "double": own + own, "insert": other + own}[kind]
    return b"".join(content)


def _change() -> st.SearchStrategy[tuple[str, float, bytes]]:
    kinds = st.sampled_from(("overwrite", "insert", "remove", "cut", "double"))
    return st.tuples(kinds, st.floats(0, 1), st.sampled_from(PIECES) | st.binary(min_size=1, max_size=8))


def _apply(seed: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    content = seed
    for kind, place, piece in changes:
        start = int(place * len(content))
        before, after = content[:start], content[start:]
        content = {
            "overwrite": before + piece + after[len(piece) :],
            "insert": before + piece + after,
            "remove": before + after[len(piece) :],
            "cut": before,
            "double": before + after[:64] + after,
        }[kind]
    return content


def _paths(tree: Any) -> list[tuple]:
    children: list[tuple[Any, Any]] = []
    if isinstance(tree, dict):
        children = list(tree.items())
    elif isinstance(tree, list):
        children = list(enumerate(tree))
    return [(), *((key, *path) for key, child in children for path in _paths(child))]


def _replaced(seed: Any, changes: list[tuple[tuple, Any]]) -> Any:
    tree = copy.deepcopy(seed)
    for (*parents, key), value in changes:
        try:
            place = tree
            for parent in parents:
                place = place[parent]
            if value is REMOVED:
                del place[key]
            else:
                place[key] = copy.deepcopy(value)  # for a later change may be within it
        except (LookupError, TypeError):
            continue  # an earlier change took the place away
    return tree
