"""fairseq's training commands as one of the processes that torchrun has started."""

import argparse
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

import torch
from fairseq.dataclass.initialize import hydra_init
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from fairseq_distil.errors import UserError
from fairseq_distil.exit_status import EXIT_USER_ERROR

HYDRA_OPTIONS = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp")


@dataclass(frozen=True)
class Worker:
    """One of the processes of a run."""

    rank: int
    local_rank: int
    world_size: int

    @classmethod
    def of_torchrun(cls, environment: Mapping[str, str]) -> "Worker":
        """What torchrun says of this process; outside of torchrun, the only one.

        Raises:
            UserError: srun alone has started several, which would know nothing of each other
        """
        tasks = environment.get("SLURM_STEP_NUM_TASKS", "1")  # not SLURM_NTASKS, which a batch script has, too
        if "RANK" not in environment and tasks != "1":
            raise UserError(
                f"SLURM_STEP_NUM_TASKS is {tasks}, but the processes that srun starts do not train together, and would "
                "write the same files: let srun start one torchrun on each node, as examples/distilbert/slurm.sh does"
            )
        return cls(
            *(
                int(environment.get(name, default))
                for name, default in (("RANK", 0), ("LOCAL_RANK", 0), ("WORLD_SIZE", 1))
            )
        )

    def settings(self, on_cpu: bool) -> dict[str, object]:
        """fairseq's settings in the group ``distributed_training``.

        fairseq would number devices by a division by the count of GPUs, of which a CPU has none, and would train apart
        from the others where a machine has one GPU, or none.
        """
        if self.world_size == 1:
            return {"distributed_world_size": 1}
        return {
            "distributed_world_size": self.world_size,
            "distributed_rank": self.rank,
            "distributed_init_method": "env://",
            "distributed_no_spawn": True,
            "distributed_backend": "gloo" if on_cpu else "nccl",
            "device_id": 0 if on_cpu else self.local_rank,
        }


def main(description: str, arguments: Sequence[str] | None = None) -> int | None:
    """Train; a mistake in the launcher's own options is one line on stderr and exit status 2."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--sequences-per-update",
        type=int,
        metavar="N",
        help="choose --update-freq so that all workers together have N sequences an update, or as near as can be",
    )
    own, others = parser.parse_known_args(arguments)
    try:
        worker = Worker.of_torchrun(os.environ)
        sys.argv = [sys.argv[0], *command_line(others, worker, own.sequences_per_update)]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    return import_module(f"fairseq_cli.{'hydra_train' if is_for_hydra(others) else 'train'}").cli_main()


def is_for_hydra(arguments: Sequence[str]) -> bool:
    """Whether the arguments are those of fairseq-hydra-train rather than of fairseq-train."""
    return any(argument.split("=")[0] in HYDRA_OPTIONS for argument in arguments)


def recipe_is_for_cpu(arguments: Sequence[str]) -> bool:
    """Whether ``common.cpu`` is true, by the recipe or what overrides it; of a faulty recipe, Hydra will tell."""
    given = get_args_parser().parse_args(list(arguments))
    if given.config_dir is None or given.config_name is None:
        return False
    hydra_init(given.config_name)
    try:
        # The schema is found by the recipe's name, which Hydra advises against, as it does where fairseq does so.
        with warnings.catch_warnings(action="ignore"), initialize_config_dir(os.path.abspath(given.config_dir)):
            return compose(given.config_name, given.overrides).common.cpu is True
    except (HydraException, OmegaConfBaseException, YAMLError):
        return False


def command_line(arguments: Sequence[str], worker: Worker, sequences: int | None = None) -> list[str]:
    """The arguments of a command of fairseq with those for this process.

    Args:
        arguments: what the user gave
        worker: this process
        sequences: of an update, of all workers together; None: as the arguments say

    Raises:
        UserError: see :func:`update_freq`
    """
    hydra = is_for_hydra(arguments)
    on_cpu = not torch.cuda.is_available() or "--cpu" in arguments or (hydra and recipe_is_for_cpu(arguments))
    groups = {"distributed_training": worker.settings(on_cpu)}
    if sequences is not None:
        groups["optimization"] = {"update_freq": [update_freq(arguments, worker, sequences)]}
    added = [
        _override(group, name, value) if hydra else _option(name, value)
        for group, settings in groups.items()
        for name, value in settings.items()
    ]
    if hydra and worker.rank > 0:  # Hydra's own logs and copies of the settings are of one process, too
        added += ["hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.output_subdir=null"]
    return [*arguments, *added]


def update_freq(arguments: Sequence[str], worker: Worker, sequences: int) -> int:
    """Batches that each worker accumulates so that an update is of about ``sequences``.

    Raises:
        UserError: that is not positive, or the arguments do not tell how many sequences a batch has
    """
    if sequences < 1:
        raise UserError(f"--sequences-per-update is {sequences}, but must be positive")
    batch_size = _batch_size(arguments)
    frequency = max(1, round(sequences / (worker.world_size * batch_size)))
    reached = frequency * worker.world_size * batch_size
    if reached != sequences and worker.rank == 0:
        print(
            f"an update is of {reached:,} sequences instead of {sequences:,}: {worker.world_size} workers x batches of "
            f"{batch_size} x --update-freq {frequency}",
            file=sys.stderr,
        )
    return frequency


def _batch_size(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--batch-size", "--max-sentences")
    given = parser.parse_known_args(list(arguments))[0].batch_size
    for argument in arguments:
        name, _, value = argument.lstrip("+").partition("=")
        given = value if name == "dataset.batch_size" else given
    if given is None or not given.isdecimal() or int(given) == 0:
        raise UserError(
            f"--sequences-per-update needs the sequences of a worker's batch, but --batch-size (dataset.batch_size) is "
            f"{given}; give a positive number on the command line"
        )
    return int(given)


def _option(name: str, value: object) -> str:
    option = f"--{name.replace('_', '-')}"
    return option if value is True else f"{option}={str(value).strip('[]')}"


def _override(group: str, name: str, value: object) -> str:
    return f"++{group}.{name}={value}"
