"""One version everywhere, which differs with the source."""

import re
from pathlib import Path

from fairseq_distil import __version__
from fairseq_distil.version import source_version

ROOT = Path(__file__).parents[1]


def test_it_is_that_of_the_package() -> None:
    assert re.findall(r'^    version="(.*)",$', (ROOT / "setup.py").read_text(), re.MULTILINE) == [__version__]


def test_it_tells_sources_apart() -> None:
    assert re.fullmatch(rf"{re.escape(__version__)}\+[0-9a-f]{{8}}", source_version())
