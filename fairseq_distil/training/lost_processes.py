"""Processes of a run that were killed: its data workers, and the workers that train with it."""

import traceback
from multiprocessing import resource_sharer

import torch.distributed as dist
from torch.utils.data._utils import signal_handling

GO_ON = "started again, the run goes on from its last checkpoint"
DATA_WORKER = (
    "a data worker was killed, perhaps because memory ran out: use fewer --num-workers (dataset.num_workers); " + GO_ON
)
TRAINING_WORKER = "another worker of this run has ended, or cannot be reached: its own log tells why; " + GO_ON


def find_dead_data_workers_between_updates() -> None:
    """Let torch find them where a batch is waited for, which it also does, each 5 seconds.

    Its handler of their deaths raises in the middle of anything, be it an optimiser's step or a checkpoint.
    """
    signal_handling._SIGCHLD_handler_set = True


def explain_loss(error: Exception) -> str | None:
    """What a user is told of a process that was lost; None of any other error.

    Of a data worker, it is raised where a batch is waited for or fetched from the worker's memory; of another worker,
    where gradients or metrics are exchanged. In both cases the weights are still those of the last update.
    """
    if ("DataLoader worker" in str(error) and "exited" in str(error)) or _is_of_shared_memory(error):
        return DATA_WORKER
    if dist.is_initialized() and (isinstance(error, dist.DistError) or "gloo" in str(error)):
        return TRAINING_WORKER
    return None


def _is_of_shared_memory(error: Exception) -> bool:
    """Whether a process that shares a batch's memory, as data workers do, has broken the connection.

    Where torch's thread that pins memory is told, the error's text has the traceback.
    """
    is_broken = isinstance(error, ConnectionError | EOFError)
    return is_broken and resource_sharer.__file__ in "".join(traceback.format_exception(error))
