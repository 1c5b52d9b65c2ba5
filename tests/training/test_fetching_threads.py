"""A run whose batches are still fetched when it ends has its own exit status."""

from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = """
import sys
import torch
from fairseq.data.iterators import BufferedIterator
import fairseq_distil

class Batches:
    def __len__(self):
        return 10**6

    def __iter__(self):
        square = torch.ones(400, 400)
        while True:
            yield square @ square @ square

batches = BufferedIterator(int(sys.argv[1]), Batches())
next(batches)
sys.exit(143)
"""


@pytest.mark.parametrize("ahead", [2, 10**6])
def test_exit_while_batches_are_fetched(ahead: int, run_script: Callable, tmp_path: Path) -> None:
    """The thread waits for room, or is within torch nearly all of the time."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ended = run_script(script, ahead)
    assert (ended.returncode, ended.stderr) == (143, "")
