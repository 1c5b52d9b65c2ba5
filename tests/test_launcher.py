"""The arguments that a process of torchrun gives fairseq's commands."""

from pathlib import Path

import pytest

from fairseq_distil.errors import UserError
from fairseq_distil.launcher import Worker, command_line, recipe_is_for_cpu, update_freq

THIRD_OF_FOUR = {"RANK": "2", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}
RECIPE = ["--config-dir", "folder", "--config-name=recipe", "dataset.batch_size=16"]


def test_fairseq_train_is_told_which_worker_it_is() -> None:
    assert command_line(["data", "--cpu"], Worker.of_torchrun(THIRD_OF_FOUR)) == [
        "data",
        "--cpu",
        "--distributed-world-size=4",
        "--distributed-rank=2",
        "--distributed-init-method=env://",
        "--distributed-no-spawn",
        "--distributed-backend=gloo",
        "--device-id=0",
    ]


def test_fairseq_hydra_train_is_told_the_same_and_writes_no_second_log() -> None:
    added = command_line([*RECIPE, "common.cpu=true"], Worker.of_torchrun(THIRD_OF_FOUR), 4096)[5:]
    assert added == [
        "++distributed_training.distributed_world_size=4",
        "++distributed_training.distributed_rank=2",
        "++distributed_training.distributed_init_method=env://",
        "++distributed_training.distributed_no_spawn=True",
        "++distributed_training.distributed_backend=gloo",
        "++distributed_training.device_id=0",
        "++optimization.update_freq=[64]",
        "hydra/job_logging=none",
        "hydra/hydra_logging=none",
        "hydra.output_subdir=null",
    ]
    first = command_line(RECIPE, Worker.of_torchrun(THIRD_OF_FOUR | {"RANK": "0"}))
    assert not any(argument.startswith("hydra") for argument in first)


def test_a_gpu_is_that_of_the_place_on_the_machine() -> None:
    settings = Worker.of_torchrun(THIRD_OF_FOUR).settings(on_cpu=False)
    assert (settings["device_id"], settings["distributed_rank"], settings["distributed_backend"]) == (1, 2, "nccl")


def test_one_process_is_not_distributed() -> None:
    assert command_line(["data"], Worker.of_torchrun({})) == ["data", "--distributed-world-size=1"]


def test_several_processes_of_srun_alone_are_refused() -> None:
    job = {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}
    with pytest.raises(UserError, match="^SLURM_STEP_NUM_TASKS is 4, but .* one torchrun on each node"):
        Worker.of_torchrun(job | {"SLURM_STEP_NUM_TASKS": "4"})
    assert Worker.of_torchrun(job | {"SLURM_STEP_NUM_TASKS": "1"}).world_size == 1
    assert Worker.of_torchrun(THIRD_OF_FOUR | job | {"SLURM_STEP_NUM_TASKS": "4"}).rank == 2


def test_one_process_in_a_batch_script_for_several_tasks_is_not_refused() -> None:
    """Slurm tells the script of the job's tasks, but not of those of a step, for srun has started none."""
    assert Worker.of_torchrun({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}) == Worker(0, 0, 1)


@pytest.mark.parametrize(
    ("in_recipe", "overrides", "expected"),
    [
        ("true", [], True),
        ("false", [], False),
        ("false", ["common.cpu=True"], True),
        ("false", ["++common.cpu=TRUE", "hydra.run.dir=x"], True),
        ("true", ["common.cpu=false"], False),
        ("[", ["common.cpu=true"], False),
    ],
)
def test_a_recipe_for_cpus(in_recipe: str, overrides: list[str], expected: bool, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(f"common:\n  cpu: {in_recipe}\n")
    assert recipe_is_for_cpu(["--config-dir", str(tmp_path), "--config-name", "recipe", *overrides]) == expected


@pytest.mark.parametrize(
    ("world_size", "batch_size", "expected"), [(8, 16, 32), (16, 16, 16), (1, 64, 64), (24, 16, 11), (300, 64, 1)]
)
def test_update_freq_keeps_the_sequences_of_an_update(
    world_size: int, batch_size: int, expected: int, capsys: pytest.CaptureFixture
) -> None:
    worker = Worker(rank=0, local_rank=0, world_size=world_size)
    for arguments in (["--batch-size", f"{batch_size}"], [f"--max-sentences={batch_size}"]):
        assert update_freq([*arguments, "--cpu"], worker, 4096) == expected
    assert update_freq([f"dataset.batch_size={batch_size}"], worker, 4096) == expected
    reached = world_size * batch_size * expected
    told = f"an update is of {reached:,} sequences instead of 4,096: {world_size} workers"
    assert capsys.readouterr().err.count(told) == (0 if reached == 4096 else 3)
    update_freq(["--batch-size", f"{batch_size}"], Worker(1, 1, world_size), 4096)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("arguments", [[], ["--batch-size", "many"], ["dataset.batch_size=0"]])
def test_update_freq_needs_the_batch_size(arguments: list[str]) -> None:
    with pytest.raises(UserError, match=r"^--sequences-per-update needs .*--batch-size \(dataset.batch_size\) is "):
        command_line(arguments, Worker(0, 0, 2), sequences=4096)


def test_an_update_has_a_sequence_at_least() -> None:
    with pytest.raises(UserError, match="^--sequences-per-update is 0, but must be positive$"):
        command_line(["--batch-size", "4"], Worker(0, 0, 2), sequences=0)
