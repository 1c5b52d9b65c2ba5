"""Weights from a family's names to ours, and back. Pure tensor code."""

import re
from collections.abc import Mapping, Sequence, Set

import torch
from torch import Tensor

from fairseq_distil.checkpoints.key_map import KeyMap
from fairseq_distil.checkpoints.key_maps import HEAD_BIAS, POSITION_EMBEDDINGS, WORD_EMBEDDINGS
from fairseq_distil.checkpoints.tensor_check import require_floating
from fairseq_distil.errors import UserError

NAMES_IN_AN_ERROR = 3


def to_our_weights(
    source: Mapping[str, Tensor], key_map: KeyMap, layers: int, rows: Sequence[int], first_position: int = 0
) -> dict[str, Tensor]:
    """State dict of a ``distil_encoder``, in float32, with the heads that the source has.

    Args:
        source: tensors by the names of the family
        key_map: of the family
        layers: transformer layers
        rows: for each symbol of our dictionary its row in the source's word embeddings
        first_position: row of the position embeddings at which the first token's stands; RoBERTa's is 2

    Raises:
        UserError: a parameter is missing, has no place in the encoder, or has another shape or type than it should
    """
    theirs = _with_todays_names(source, key_map)
    for name, tensor in theirs.items():
        require_floating(name, tensor)
    _resolve_tied(theirs, key_map)
    token_types = theirs.pop(key_map.token_types, None) if key_map.token_types else None
    if layers > len(theirs):
        raise UserError(f"it has {len(theirs):,} parameters, too few for {layers:,} layers")
    names = key_map.names(layers, key_map.heads_among(theirs))
    _require_same_names({name for parts in names.values() for name in parts}, theirs.keys())
    weights = {ours: _concatenated(theirs, parts) for ours, parts in names.items()}
    positions = weights[POSITION_EMBEDDINGS]
    positions = positions[min(first_position, len(positions)) :]
    if token_types is not None:
        if token_types.ndim != 2 or not len(token_types) or token_types.shape[1:] != positions.shape[1:]:
            raise UserError(
                f"{key_map.token_types} is {tuple(token_types.shape)}, but must be as wide as the positions"
            )
        positions = positions + token_types[0].float()  # without token types, every token has the first one's embedding
    weights[POSITION_EMBEDDINGS] = positions.clone()
    for name in _by_symbol(weights):
        if max(rows) >= len(weights[name]):
            raise UserError(f"its tokeniser has {max(rows) + 1:,} pieces, its embeddings {len(weights[name]):,} rows")
        weights[name] = weights[name][torch.tensor(rows)]
    return weights


def to_their_weights(
    weights: Mapping[str, Tensor], key_map: KeyMap, layers: int, rows: Sequence[int], first_position: int = 0
) -> dict[str, Tensor]:
    """The inverse of :func:`to_our_weights`; parameters that it drops are left out, rows that it drops are zero.

    Args:
        weights: state dict of a ``distil_encoder``
        key_map: of the family
        layers: transformer layers
        rows: for each row of their word embeddings the id in our dictionary
        first_position: rows of zeros to put before the position embeddings
    """
    permuted = dict(weights)
    for name in _by_symbol(weights):
        permuted[name] = weights[name][torch.tensor(rows)]
    positions = weights[POSITION_EMBEDDINGS]
    permuted[POSITION_EMBEDDINGS] = torch.cat([positions.new_zeros(first_position, positions.size(1)), positions])
    theirs = {}
    for ours, parts in key_map.names(layers, key_map.heads_among(weights)).items():
        for part, tensor in zip(parts, permuted[ours].chunk(len(parts)), strict=True):
            theirs[part] = tensor.clone()
    return theirs


def _concatenated(theirs: Mapping[str, Tensor], parts: Sequence[str]) -> Tensor:
    first = theirs[parts[0]]
    for part in parts:
        tensor = theirs[part]
        if tensor.ndim == 0 or tensor.shape[1:] != first.shape[1:] or tensor.ndim != first.ndim:
            raise UserError(f"{part} is {tuple(tensor.shape)}, which does not go with {parts[0]}, {tuple(first.shape)}")
    return torch.cat([theirs[part] for part in parts]).float()


def _by_symbol(weights: Mapping[str, Tensor]) -> list[str]:
    """Names of the weights that have a row for each symbol."""
    return [name for name in (WORD_EMBEDDINGS, HEAD_BIAS) if name in weights]


def _with_todays_names(source: Mapping[str, Tensor], key_map: KeyMap) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in source.items():
        for old, new in key_map.old_names.items():
            name = re.sub(old, new, name)
        renamed[name] = tensor
    if not any(name.startswith(key_map.body) for name in renamed):
        outside = (*key_map.head_names(), *key_map.tied)
        renamed = {name if name in outside else key_map.body + name: tensor for name, tensor in renamed.items()}
    kept = {
        name: tensor
        for name, tensor in renamed.items()
        if not any(re.fullmatch(pattern, name) for pattern in key_map.ignored)
    }
    return _unfused(kept, key_map)


def _unfused(theirs: dict[str, Tensor], key_map: KeyMap) -> dict[str, Tensor]:
    separate = {}
    for name, tensor in theirs.items():
        parts = {name: tensor}
        for pattern, targets in key_map.fused.items():
            if match := re.fullmatch(pattern, name):
                if tensor.ndim == 0 or len(tensor) % len(targets):
                    raise UserError(f"{name} is {tuple(tensor.shape)}, which is not {len(targets)} parts of equal size")
                chunks = tensor.tensor_split(len(targets))
                parts = {match.expand(target): chunk for target, chunk in zip(targets, chunks, strict=True)}
        separate |= parts
    return separate


def _resolve_tied(theirs: dict[str, Tensor], key_map: KeyMap) -> None:
    for copy, original in key_map.tied.items():
        tensor = theirs.pop(copy, None)
        if tensor is not None and not torch.equal(tensor, theirs.setdefault(original, tensor)):
            raise UserError(f"{copy} differs from {original}; this encoder's masked-LM head ties them")


def _require_same_names(expected: set[str], found: Set[str]) -> None:
    missing, unexpected = expected - found, found - expected
    if missing:
        raise UserError(f"it lacks {_some(missing)}")
    if unexpected:
        raise UserError(f"it has parameters that the encoder does not implement: {_some(unexpected)}")


def _some(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:NAMES_IN_AN_ERROR])
    return shown if len(names) <= NAMES_IN_AN_ERROR else f"{shown} and {len(names) - NAMES_IN_AN_ERROR} more"
