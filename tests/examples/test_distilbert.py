"""examples/distilbert on several GPUs and machines: its lines compose, its arithmetic holds, its Slurm job starts."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser

from fairseq_distil.launcher import Worker, command_line

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "distilbert"
README = (FOLDER / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
RECIPE = shlex.split(re.search(r'export RECIPE="([^"]+)"', README)[1])
LINES = re.findall(r"(?m)^torchrun (.*) \$RECIPE$", README)


def table() -> list[tuple[int, int, int]]:
    """Nodes, ``update_freq``, and sequences an update."""
    rows = re.findall(r"(?m)^\| (\d+) \| (\d+) \| ([\d,]+)\D", README)
    assert len(rows) == 4
    return [(int(nodes), int(frequency), int(sequences.replace(",", ""))) for nodes, frequency, sequences in rows]


@pytest.mark.parametrize(("nodes", "update_freq", "sequences"), table())
def test_recipe_keeps_the_sequences_of_an_update(
    compose_recipe: Callable, nodes: int, update_freq: int, sequences: int
) -> None:
    assert RECIPE[0] == "--sequences-per-update" and RECIPE[2::2][:2] == ["--config-dir", "--config-name"]
    worker = Worker(rank=3, local_rank=3, world_size=8 * nodes)
    overrides = command_line(RECIPE[2:], worker, int(RECIPE[1]))[4:]
    cfg = compose_recipe(FOLDER / "config" / "distilbert.yaml", *overrides)
    training = cfg.distributed_training
    assert (training.distributed_world_size, training.distributed_rank) == (8 * nodes, 3)
    assert cfg.optimization.update_freq == [update_freq]
    assert 8 * nodes * cfg.dataset.batch_size * update_freq == sequences


def test_torchrun_knows_the_options() -> None:
    """One node, and elastic ones."""
    parsed = [get_args_parser().parse_args(shlex.split(line)) for line in LINES]
    assert [options.nnodes for options in parsed] == ["1:1", "1:4"]
    for options in parsed:
        assert (options.nproc_per_node, options.training_script) == ("8", "scripts/train.py")


def test_slurm_job_starts_one_torchrun_on_each_node(tmp_path: Path) -> None:
    for name, body in {"srun": 'printf "%s\\n" "$@"', "scontrol": "echo node7; echo node8"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    job = {"SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": "31"}
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"} | job
    command = ["bash", FOLDER / "slurm.sh", "two words", "task.data=here"]
    started = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    options = get_args_parser().parse_args(started[1:])
    assert started[0] == "torchrun"
    assert (options.nnodes, options.nproc_per_node, options.rdzv_endpoint) == ("2", "8", "node7:29500")
    assert (options.rdzv_id, options.rdzv_backend) == ("31", "c10d")
    assert [options.training_script, *options.training_script_args] == [
        "scripts/train.py",
        "two words",
        "task.data=here",
    ]


@pytest.mark.slow
@pytest.mark.timeout(300)  # models of base size
def test_the_peer_prints_the_benchmarks_record(run_script: Callable) -> None:
    result = run_script(FOLDER / "transformers_loop.py", "--batch", "1", "--length", "8", "--steps", "1")
    assert result.returncode == 0, result.stderr
    record = json.loads(result.stdout.splitlines()[-1])
    assert (record["batch"], record["length"], record["layers"], record["bf16"]) == (1, 8, 12, False)
    assert all(record[name] > 0 for name in ("seconds_per_step", "tokens_per_second", "peak_mib", "last_loss"))
