"""What fairseq's distributed training lacks: CPUs under ``pytorch_ddp``, and a clear word on missing gradients."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from fairseq.models import distributed_fairseq_model
from torch import nn
from torch.distributed import Reducer
from torch.nn.parallel import DistributedDataParallel

from .errors import UserError

NOT_EXCHANGED = "Expected to have finished reduction in the prior iteration"
WITHOUT_GRADIENT = re.compile(r"Parameter indices which did not receive grad for rank \d+: ([\d ]+)")


class DeviceIndependentDataParallel(DistributedDataParallel):
    """torch's, which refuses the number of a GPU for a module that is not on one; here it has no effect there.

    On any device it tells which parameters had no gradient, where torch's message has numbers.
    """

    def __init__(
        self, module: nn.Module, device_ids: Sequence[int] | None = None, output_device: int | None = None, **rest: Any
    ) -> None:
        self.is_on_cpu = all(parameter.device.type == "cpu" for parameter in module.parameters())
        if self.is_on_cpu:
            device_ids = output_device = None
        super().__init__(module, device_ids=device_ids, output_device=output_device, **rest)

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """See :meth:`torch.nn.parallel.DistributedDataParallel.forward`.

        Raises:
            UserError: gradients of the last update have not been exchanged, for some parameters had none
        """
        try:
            with _buckets_as_they_are() if self.is_on_cpu else nullcontext():
                return super().forward(*inputs, **keywords)
        except RuntimeError as error:
            if NOT_EXCHANGED not in str(error):
                raise
            raise UserError(
                "--ddp-backend pytorch_ddp needs a gradient of every parameter, but "
                f"{self._without_gradient(error)} had none in the last update; leave out what is not trained, such as "
                "a masked-LM head in fine-tuning by --no-masked-lm-head, or take --ddp-backend legacy_ddp; where "
                "memory had run out in it, lower --batch-size"
            ) from error

    def _without_gradient(self, error: RuntimeError) -> str:
        trained = [name for name, parameter in self.module.named_parameters() if parameter.requires_grad]
        found = WITHOUT_GRADIENT.search(str(error))
        return ", ".join(trained[int(index)] for index in found[1].split()) if found else "some"


@contextmanager
def _buckets_as_they_are() -> Iterator[None]:
    """Sum gradients in one order always.

    After a process's first update torch puts its buckets in the order in which gradients came, so that three workers
    or more would sum in another order after a start than without it. That all gradients of the last update have been
    exchanged, which it looks at first, is still looked at.
    """
    rebuild_as_ever = Reducer._rebuild_buckets
    Reducer._rebuild_buckets = Reducer._check_reducer_finalized
    try:
        yield
    finally:
        Reducer._rebuild_buckets = rebuild_as_ever


def let_pytorch_ddp_train_on_cpus() -> None:
    """Replace what fairseq wraps models in for ``--ddp-backend pytorch_ddp``: it always names a GPU."""
    distributed_fairseq_model.DistributedDataParallel = DeviceIndependentDataParallel
