"""The machine that a report was made on."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """What numbers depend on.

    Args:
        cpu: its name
        cores: that this process may use
        gpu: name of the first one, None where there is none
        torch: its version
    """

    cpu: str
    cores: int
    gpu: str | None
    torch: str

    def __str__(self) -> str:
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        return f"torch {self.torch} on {self.cpu}, {cores}, {self.gpu or 'no GPU'}"


def this_machine(cpuinfo: Path = CPUINFO) -> Machine:
    """Look at the one this runs on.

    Args:
        cpuinfo: file in which Linux tells the processor's name
    """
    return Machine(
        cpu=_cpu_name(cpuinfo),
        cores=len(os.sched_getaffinity(0)),
        gpu=torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        torch=torch.__version__,
    )


def _cpu_name(cpuinfo: Path) -> str:
    """Where Linux tells none, as on Arm, the architecture."""
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
