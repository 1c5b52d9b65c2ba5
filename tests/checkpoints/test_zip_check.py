import zipfile
from pathlib import Path

import pytest
import torch

from fairseq_distil.checkpoints.zip_check import require_plain_zip
from fairseq_distil.errors import UserError


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.save({"weight": torch.ones(1000)}, tmp_path / "checkpoint.pt")
    return tmp_path / "checkpoint.pt"


@pytest.mark.parametrize("is_zip", [True, False])
def test_what_torch_writes_passes(tmp_path: Path, is_zip: bool) -> None:
    torch.save({"weight": torch.ones(1000)}, tmp_path / "x.pt", _use_new_zipfile_serialization=is_zip)
    require_plain_zip(tmp_path / "x.pt")


def test_compressed_records(checkpoint: Path, tmp_path: Path) -> None:
    """A megabyte that torch would make a gigabyte of."""
    bomb = tmp_path / "bomb.pt"
    with zipfile.ZipFile(checkpoint) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for record in source.namelist():
            target.writestr(record, source.read(record))
    assert torch.load(bomb)["weight"].sum() == 1000  # torch takes it
    with pytest.raises(UserError, match="bomb.pt: .* holds compressed records, which torch does not write"):
        require_plain_zip(bomb)


def test_records_that_share_their_bytes(checkpoint: Path, tmp_path: Path) -> None:
    """A directory that names the same bytes many times."""
    with zipfile.ZipFile(checkpoint, "a") as archive:
        largest = max(archive.infolist(), key=lambda record: record.file_size)
        archive.filelist += [largest] * 9
        archive._didModify = True
    with pytest.raises(UserError, match="its records claim more bytes than the file has"):
        require_plain_zip(checkpoint)
