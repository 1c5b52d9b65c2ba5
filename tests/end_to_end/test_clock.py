"""A clock that jumps changes nothing in a run."""

from pathlib import Path

import pytest

from .commands import ForkedCommands, Run
from .conftest import STUDENT, Options
from .test_resume import assert_ended_alike

JUMPING_CLOCK = """
import itertools, sys, time
from fairseq_cli import train

tick = itertools.count()
real_time = time.time

def jumping_time():
    days = (0, 3, -2)[next(tick) // 40 % 3]  # forwards and backwards, ten times at least
    return real_time() + days * 86400

time.time = jumping_time
sys.argv[0] = "fairseq-train"
train.cli_main()
calls = next(tick)
assert calls > 400, calls
"""


@pytest.mark.slow
@pytest.mark.timeout(900)  # with the training of the teacher, on a machine that does much else
def test_a_clock_that_jumps(
    commands: ForkedCommands, student: Run, distillation_options: Options, tmp_path: Path
) -> None:
    """By days, also while the run is resumed; with a limit of hours that the real time does not come near."""
    script = tmp_path / "jumping_clock.py"
    script.write_text(JUMPING_CLOCK)
    save_dir = tmp_path / "run"
    arguments = distillation_options(save_dir, **STUDENT)
    half = distillation_options(save_dir, **STUDENT | {"max_update": 15})
    for options in (half, arguments):
        run = commands.run(str(script), *options, save_dir=save_dir).assert_succeeded()
    assert_ended_alike(run, student, from_update=1)
