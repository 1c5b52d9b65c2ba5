"""What fairseq's distributed training lacks on CPUs."""

from collections.abc import Sequence
from typing import Any

from fairseq.models import distributed_fairseq_model
from torch import nn
from torch.nn.parallel import DistributedDataParallel


class DeviceIndependentDataParallel(DistributedDataParallel):
    """torch's, which refuses the number of a GPU for a module that is not on one; here it has no effect there."""

    def __init__(
        self, module: nn.Module, device_ids: Sequence[int] | None = None, output_device: int | None = None, **rest: Any
    ) -> None:
        if all(parameter.device.type == "cpu" for parameter in module.parameters()):
            device_ids = output_device = None
        super().__init__(module, device_ids=device_ids, output_device=output_device, **rest)


def let_pytorch_ddp_train_on_cpus() -> None:
    """Replace what fairseq wraps models in for ``--ddp-backend pytorch_ddp``: it always names a GPU."""
    distributed_fairseq_model.DistributedDataParallel = DeviceIndependentDataParallel
