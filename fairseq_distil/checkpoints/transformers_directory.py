"""Reading a directory that transformers' ``save_pretrained`` wrote: configuration and weights, safely."""

import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fairseq_distil.checkpoints.checked_loading import load_checked
from fairseq_distil.checkpoints.tensor_check import require_held
from fairseq_distil.errors import UserError, naming
from fairseq_distil.json_file import read_json_object

CONFIG_FILE = "config.json"
SAFETENSORS_FILE = "model.safetensors"
PICKLE_FILE = "pytorch_model.bin"


def read_config(directory: Path) -> dict[str, Any]:
    """The content of ``config.json``.

    Raises:
        UserError: it is missing, or not a JSON object
    """
    return read_json_object(directory / CONFIG_FILE, "give a directory that save_pretrained of transformers wrote")


def read_weights(directory: Path) -> dict[str, Tensor]:
    """All tensors by their names, from safetensors or from a pickle of tensors alone, in one file or in shards.

    Raises:
        UserError: a file is missing, damaged, or not safe to load
    """
    for name in (SAFETENSORS_FILE, PICKLE_FILE):
        if (directory / name).is_file():
            return _read_tensors(directory / name)
        if (index := directory / f"{name}.index.json").is_file():
            return _read_shards(index)
    raise UserError(f"{directory}: has neither {SAFETENSORS_FILE} nor {PICKLE_FILE}, whole or in shards")


def _read_shards(index: Path) -> dict[str, Tensor]:
    file_of_name = read_json_object(index, "give it again").get("weight_map")
    if not isinstance(file_of_name, dict) or not all(isinstance(name, str) for name in file_of_name.values()):
        raise UserError(f"{index}: has no weight_map from parameters to files")
    paths = []
    for name in sorted(set(file_of_name.values())):
        if name != os.path.basename(name):
            raise UserError(f"{index}: names {name!r}, but shards must lie beside it")
        paths.append(path := index.parent / name)
        if not os.path.isfile(path):  # which takes names that no file can have
            raise UserError(f"{path}: no such file, though {index.name} names it; give all shards")
    tensors: dict[str, Tensor] = {}
    for path in paths:
        tensors |= _read_tensors(path)
    if missing := sorted(file_of_name.keys() - tensors.keys()):
        raise UserError(f"{index}: names {missing[0]}, which none of the shards holds")
    return tensors


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, LookupError, RuntimeError, TypeError) as error:  # the last of sizes beyond torch's
            raise UserError(f"{path}: not a safetensors file, or damaged: {_first_line(error)}") from error
    tensors = load_checked(path)
    with naming(path):
        require_held(tensors)
    return dict(tensors)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
