"""Whether a checkpoint is stored as torch stores it, before torch makes room for what it claims to hold."""

import os
import zipfile
from pathlib import Path

from fairseq_distil.checkpoints.load_errors import NOT_A_CHECKPOINT
from fairseq_distil.errors import UserError


def require_plain_zip(path: Path | str) -> None:
    """Check that no record of a zip file is compressed, and that all together are no larger than the file.

    torch decompresses what others compressed, so that a small file could fill the memory. Files that are no zip, such
    as those of old versions of torch, pass.

    Raises:
        UserError: a record is compressed, or shares its bytes with another
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return  # torch tells what is wrong with it
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise UserError(f"{path}: {NOT_A_CHECKPOINT}: holds compressed records, which torch does not write")
    if sum(record.file_size for record in records) > os.path.getsize(path):
        raise UserError(f"{path}: {NOT_A_CHECKPOINT}: its records claim more bytes than the file has")
