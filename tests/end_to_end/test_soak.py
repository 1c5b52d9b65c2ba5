"""Thousands of updates: memory and open files do not grow, and the last take no longer than the first."""

import json
from pathlib import Path

import numpy as np
import pytest

from .commands import ForkedCommands
from .conftest import Options

MEASURED_TRAIN = """
import json, os, sys, time
from fairseq.trainer import Trainer
from fairseq_cli import train

EVERY = 100
PAGE = os.sysconf("SC_PAGE_SIZE")
train_step_as_ever = Trainer.train_step

def train_step(self, samples, *settings, **more):
    log = train_step_as_ever(self, samples, *settings, **more)
    if self.get_num_updates() % EVERY == 0:
        with open("/proc/self/statm") as file:
            resident = int(file.read().split()[1]) * PAGE
        files = len(os.listdir("/proc/self/fd"))
        record = {"updates": self.get_num_updates(), "resident": resident, "files": files, "cpu": time.process_time()}
        print(json.dumps(record), file=measurements, flush=True)
    return log

Trainer.train_step = train_step
measurements = open(sys.argv.pop(1), "w")
sys.argv[0] = "fairseq-train"
train.cli_main()
"""
UPDATES = 10_000
WARM_UP = 1_000  # updates after which caches and pools are filled
MOST_BYTES_AN_UPDATE = 100
MOST_TIMES_AS_SLOW = 1.5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_thousand_updates(commands: ForkedCommands, distillation_options: Options, tmp_path: Path) -> None:
    """476 epochs, with a validation and checkpoints each, and data workers that are started anew."""
    script, measurements = tmp_path / "measured_train.py", tmp_path / "measurements"
    script.write_text(MEASURED_TRAIN)
    settings = {"max_update": UPDATES, "log_interval": 100, "lr": 1e-4, "num_workers": 1, "keep_last_epochs": 2}
    arguments = distillation_options(tmp_path / "run", tensorboard_logdir=None, **settings)
    commands.run(str(script), str(measurements), *arguments, save_dir=tmp_path / "run").assert_succeeded()

    records = [json.loads(line) for line in measurements.read_text().splitlines()]
    names = ("updates", "resident", "files", "cpu")
    updates, resident, files, cpu = (np.array([record[name] for record in records]) for name in names)
    assert updates[-1] == UPDATES
    warm = updates >= WARM_UP
    slope = np.polyfit(updates[warm], resident[warm], 1)[0]
    seconds = np.diff(cpu[warm])
    tenth = len(seconds) // 10
    slowdown = np.median(seconds[-tenth:]) / np.median(seconds[:tenth])
    print(
        f"{UPDATES} updates: {slope:.1f} bytes an update, {resident[-1] / 2**20:.0f} MB at the end; "
        f"{files[warm].min()} to {files[warm].max()} open files; the last tenth takes {slowdown:.2f} times the first's"
    )
    assert slope < MOST_BYTES_AN_UPDATE
    assert files[warm][-tenth:].max() <= files[warm][:tenth].max()
    assert slowdown < MOST_TIMES_AS_SLOW
