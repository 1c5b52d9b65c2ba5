"""Copies of checkpoints that are either whole or absent."""

import os
import shutil

from fairseq.file_io import PathManager


def copy_atomically(source_path: str, destination_path: str, overwrite: bool = False) -> bool:
    """Copy beside the destination, then rename.

    Raises:
        FileExistsError: the destination exists and is not to be overwritten
    """
    if not overwrite and os.path.exists(destination_path):
        raise FileExistsError(f"{destination_path} exists already")
    temporary_path = f"{destination_path}.tmp"
    shutil.copyfile(source_path, temporary_path)
    os.replace(temporary_path, destination_path)
    return True


def make_checkpoint_copies_atomic() -> None:
    """Replace fairseq's way of copying a new checkpoint to ``checkpoint_last.pt`` and ``checkpoint_best.pt``.

    fairseq writes the first of them aside and renames it, but copies it over the others in place: killed in the
    middle of that, a run could not be resumed. Where iopath is installed, it does the copying and stays in charge.
    """
    from fairseq import file_io

    if file_io.IOPathManager is None:
        PathManager.copy = staticmethod(copy_atomically)
