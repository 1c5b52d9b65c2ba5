"""Shell scripts that are interrupted while a program of theirs is at work."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SECONDS_TO_START = 60


def assert_ended_by(number: signal.Signals, script: subprocess.Popen[str], pid: Path) -> None:
    """Send a script a signal while its program, which writes its process ID to ``pid``, runs: both end, as promised."""
    deadline = time.monotonic() + SECONDS_TO_START
    while not pid.exists() or not pid.read_text():
        assert time.monotonic() < deadline and script.poll() is None
        time.sleep(0.02)
    script.send_signal(number)
    _, stderr = script.communicate(timeout=30)
    assert (script.returncode, stderr) == (128 + number, "interrupted; the same command goes on from here\n")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
