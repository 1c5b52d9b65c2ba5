"""What a report tells of the machine."""

import os
import platform
from pathlib import Path

import torch

from fairseq_distil.evaluation.machine import Machine, this_machine


def test_this_one(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2.0: GHz\n\nprocessor\t: 1\nmodel name\t: Another\n")
    machine = this_machine(cpuinfo)
    assert machine.cpu == "Some CPU @ 2.0: GHz"
    assert machine.cores == len(os.sched_getaffinity(0)) and machine.torch == torch.__version__
    assert (machine.gpu is None) == (not torch.cuda.is_available())
    cpuinfo.write_text("processor\t: 0\n")
    assert this_machine(cpuinfo).cpu == this_machine(tmp_path / "absent").cpu == platform.machine()


def test_in_words() -> None:
    assert str(Machine("a CPU", 1, None, "2.11.0")) == "torch 2.11.0 on a CPU, 1 core, no GPU"
    assert str(Machine("a CPU", 16, "a GPU", "2.11.0")) == "torch 2.11.0 on a CPU, 16 cores, a GPU"
