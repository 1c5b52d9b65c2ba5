"""scripts/interruptible.sh: a script that waits by `run` ends when it is interrupted, whenever that is."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "interruptible.sh"


def bash(*lines: str) -> subprocess.CompletedProcess[str]:
    script = "\n".join(["set -euo pipefail", f"source '{SCRIPT}'", *lines])
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("status", [0, 3])
def test_run_ends_as_its_command_does(status: int) -> None:
    assert bash(f"run bash -c 'echo done; exit {status}'").stdout == "done\n"
    assert bash(f"run bash -c 'exit {status}'").returncode == status


def signal_before(number: int, command: str) -> subprocess.CompletedProcess[str]:
    """Signalled before the ``number``-th command: bash calls the DEBUG trap before each, in functions too."""
    return bash("set -T; commands=0", f"trap '[ $((++commands)) -ne {number} ] || kill -TERM $$' DEBUG", command)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_signal_before_any_command_of_run_ends_it(number: int) -> None:
    result = signal_before(number, "run sleep 60")
    assert (result.returncode, result.stderr) == (143, "interrupted; the same command goes on from here\n")


def test_run_has_no_more_commands() -> None:
    assert signal_before(4, "run true").returncode == 143
    assert signal_before(5, "run true").returncode == 0
