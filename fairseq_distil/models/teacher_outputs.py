"""One pass of a teacher over a data set, shared by all workers, and what its outcome depends on."""

import hashlib
import logging
from typing import Any, Callable, Dict, Iterator, List, Optional

import numpy as np
import torch
import torch.distributed as dist
from fairseq.data import FairseqDataset
from fairseq.utils import apply_to_sample
from numpy.typing import NDArray
from torch import Tensor, nn

from fairseq_distil.errors import UserError
from fairseq_distil.training.stop_request import stop_if_requested
from fairseq_distil.workers import gather_from_workers

logger = logging.getLogger(__name__)
TOKENS_AT_A_TIME = 8192
ITEMS_AT_A_TIME = 512
REPORTS = 10


def compute_outputs(
    outputs: Callable[[Dict[str, Any]], List[NDArray[Any]]],
    dataset: FairseqDataset,
    starts: NDArray[np.int64],
    dtype: np.dtype,
    *,
    positions: int,
    device: torch.device,
) -> Optional[NDArray[Any]]:
    """What a teacher gives for every item, in memory; all workers must call this.

    Args:
        outputs: computes the values of each item of a batch, of which those beyond its part of ``starts`` are left out
        dataset: the items
        starts: values of item ``i`` go to ``starts[i] : starts[i + 1]``
        dtype: of a value: a floating-point type, or a record with one named ``probabilities``
        positions: tokens that the teacher can read at most; items with more get no values but NaN
        device: the teacher's

    Returns:
        The values ``(starts[-1],)`` on the first worker, None on the others.

    Raises:
        UserError: an output is not finite
        StopRequested: SIGTERM came to any worker
    """
    rank, workers = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    values = _of_nothing(int(starts[-1]), dtype) if rank == 0 else None
    batches = _batches(dataset, positions)
    for first in _reported(range(0, len(batches), workers)):
        stop_if_requested()
        mine = batches[first + rank] if first + rank < len(batches) else []
        for items, rows in gather_from_workers((mine, _outputs(outputs, dataset, mine, device))):
            if not all(np.isfinite(_numbers(row)).all() for row in rows):
                raise UserError(
                    "the teacher's logits are not finite: its weights are damaged, or too large for its type"
                )
            if values is not None:
                for item, row in zip(items, rows, strict=True):
                    values[starts[item] : starts[item + 1]] = row[: starts[item + 1] - starts[item]]
    return values


def digest_of_weights(model: nn.Module) -> str:
    """SHA-256 of a model's configuration, and of its weights in their types."""
    total = hashlib.sha256(repr(model.config).encode())
    for name, tensor in model.state_dict().items():
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return total.hexdigest()


def digest_of_tokens(dataset: FairseqDataset) -> str:
    """SHA-256 of what a model is given of a data set: whatever files and settings make the token ids."""
    total = hashlib.sha256()
    for sample in collated(dataset):
        add_tokens(total, sample["net_input"]["src_tokens"])
    return total.hexdigest()


def add_tokens(total: Any, tokens: Tensor) -> None:
    """Take token ids ``(batch, length)``, or places of some, into a digest."""
    total.update(str(tuple(tokens.shape)).encode())
    total.update(tokens.numpy())


def collated(dataset: FairseqDataset) -> Iterator[Dict[str, Any]]:
    """All items in their order, some hundreds at a time."""
    for first in range(0, len(dataset), ITEMS_AT_A_TIME):
        items = range(first, min(first + ITEMS_AT_A_TIME, len(dataset)))
        yield dataset.collater([dataset[item] for item in items])


def type_of_products(device: torch.device) -> str:
    """In which matrices are multiplied there at present, for people."""
    autocasts = torch.is_autocast_enabled(device.type)
    return str(torch.get_autocast_dtype(device.type)) if autocasts else "that of the weights"


def _of_nothing(count: int, dtype: np.dtype) -> NDArray[Any]:
    values = np.zeros(count, dtype)
    _numbers(values)[...] = np.nan
    return values


def _numbers(values: NDArray[Any]) -> NDArray[Any]:
    """What may not be finite of them."""
    return values["probabilities"] if values.dtype.names else values


def _batches(dataset: FairseqDataset, positions: int) -> List[List[int]]:
    """Of items of similar length that a teacher with so many positions can read."""
    lengths = np.array([dataset.num_tokens(item) for item in range(len(dataset))], np.int64)
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] <= positions]
    return [list(map(int, batch)) for batch in dataset.batch_by_size(order, max(TOKENS_AT_A_TIME, positions))]


@torch.inference_mode()
def _outputs(
    outputs: Callable[[Dict[str, Any]], List[NDArray[Any]]],
    dataset: FairseqDataset,
    items: List[int],
    device: torch.device,
) -> List[NDArray[Any]]:
    """Of some items, each a row."""
    if not items:
        return []
    sample = dataset.collater([dataset[item] for item in items])
    return outputs(apply_to_sample(lambda tensor: tensor.to(device), sample))


def _reported(rounds: range) -> Iterator[int]:
    """The rounds, ten of which are told of."""
    for number, item in enumerate(rounds):
        if number * REPORTS // len(rounds) != (number - 1) * REPORTS // len(rounds):
            logger.info("teacher outputs: %d %% computed", 100 * number // len(rounds))
        yield item
