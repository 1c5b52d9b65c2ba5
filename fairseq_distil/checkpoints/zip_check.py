"""Whether a checkpoint is stored as torch stores it, before torch makes room for what it claims to hold."""

import os
import zipfile
from pathlib import Path

from fairseq_distil.checkpoints.load_errors import NOT_A_CHECKPOINT
from fairseq_distil.errors import UserError

FIRST_BYTES = b"PK\x03\x04"
"""By which torch tells a zip file from the pickles of its old versions."""
ENCRYPTED = 1


def require_plain_zip(path: Path | str) -> None:
    """Check that no record of a zip file is compressed, and that all together are no larger than the file.

    torch decompresses what others compressed, so that a small file could fill the memory. What torch does not take for
    a zip file passes. What it does, and Python cannot read, is refused: torch is the less strict of the two.

    Raises:
        UserError: a record is compressed, shares its bytes with another, or is not described as torch describes it
    """
    with open(path, "rb") as file:
        if file.read(len(FIRST_BYTES)) != FIRST_BYTES:
            return
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except Exception as error:  # zipfile raises many kinds on a damaged directory
        reason = f"its directory of records cannot be read: {error}"
        raise UserError(f"{path}: {NOT_A_CHECKPOINT}: {reason}") from error
    if not all(map(is_plain, records)):
        raise UserError(f"{path}: {NOT_A_CHECKPOINT}: a record is compressed, or not described as torch does")
    if sum(record.file_size for record in records) > os.path.getsize(path):
        raise UserError(f"{path}: {NOT_A_CHECKPOINT}: its records claim more bytes than the file has")


def is_plain(record: zipfile.ZipInfo) -> bool:
    """Whether a record is described as torch writes it: stored, and no directory, of which it would read nothing."""
    has_attributes = record.external_attr or record.internal_attr or record.flag_bits & ENCRYPTED
    return record.compress_type == zipfile.ZIP_STORED and not has_attributes
