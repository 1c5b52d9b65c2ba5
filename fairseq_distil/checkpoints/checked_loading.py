"""The one way by which files of torch are read: nothing is made of them before all of them is known to be plain."""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch.serialization import MAGIC_NUMBER

from fairseq_distil.checkpoints.load_errors import NOT_A_CHECKPOINT, explain_load_error
from fairseq_distil.checkpoints.pickle_check import check_pickle
from fairseq_distil.checkpoints.zip_check import is_zip, require_plain_zip
from fairseq_distil.errors import UserError, naming

FIRST_BYTES_OF_OLD_FORMAT = pickle.dumps(MAGIC_NUMBER, 2)
LENGTH = 8
"""Bytes before the values of a storage in files of torch's old versions: how many there are."""


def load_checked(path: Path | str, mmap: bool = False) -> Any:
    """What ``torch.load`` gives of a checkpoint of plain data and tensors, on the CPU.

    Args:
        path: of the file, which torch wrote, in its present format or in that of its versions before 1.6
        mmap: whether to leave the values of tensors in the file until they are used, which the old format never does

    Raises:
        OSError: there is no such file, or it cannot be opened
        UserError: it is damaged, or not plain
    """
    is_present_format = is_zip(path)
    check = _check_pickle_of_zip if is_present_format else _check_old_format
    require_plain_zip(path)
    with naming(path):
        try:
            check(path)
            return torch.load(path, map_location="cpu", mmap=mmap and is_present_format, weights_only=True)
        except UserError:
            raise
        except Exception as error:  # torch raises almost anything on a file of another kind
            raise UserError(explain_load_error(error)) from error


def is_old_format(path: Path | str) -> bool:
    """Whether a file begins as torch before 1.6 began it."""
    with open(path, "rb") as file:
        return file.read(len(FIRST_BYTES_OF_OLD_FORMAT)) == FIRST_BYTES_OF_OLD_FORMAT


def _check_pickle_of_zip(path: Path | str) -> None:
    reader = torch._C.PyTorchFileReader(str(path))  # torch's own, so that there are no two opinions of the records
    storages = check_pickle(io.BytesIO(reader.get_record("data.pkl"))).storages
    with zipfile.ZipFile(path) as archive:
        folder = archive.infolist()[0].filename.partition("/")[0]
        sizes = {record.filename: record.file_size for record in archive.infolist()}
    for key, storage in storages.items():
        if sizes.get(f"{folder}/data/{key}") != storage.count * storage.bytes_of_value:
            raise UserError(f"{NOT_A_CHECKPOINT}: its record of storage {key!r} is not as long as its pickle says")


def _check_old_format(path: Path | str) -> None:
    """Five pickles: a constant, a version, the machine, the checkpoint, the keys of its storages; then these."""
    with open(path, "rb") as file:
        for _ in range(3):
            check_pickle(file)
        storages = check_pickle(file).storages
        keys = getattr(check_pickle(file).value, "items", None)
        if not isinstance(keys, list) or len(keys) != len(storages) or not all(isinstance(key, str) for key in keys):
            raise UserError(f"{NOT_A_CHECKPOINT}: it does not list its storages")
        for key in keys:
            storage = storages.pop(key, None)
            if storage is None or int.from_bytes(file.read(LENGTH), "little") != storage.count:
                raise UserError(f"{NOT_A_CHECKPOINT}: its storage {key!r} is not as long as its pickle says")
            file.seek(storage.count * storage.bytes_of_value, os.SEEK_CUR)
        if file.tell() != os.path.getsize(path):
            raise UserError(f"{NOT_A_CHECKPOINT}: its storages do not end where the file ends")
