"""Soft targets of the likeliest words of masked tokens, computed once, where masks repeat."""

import copy
import hashlib
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
import torch
from fairseq import utils
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from numpy.typing import NDArray
from torch import Tensor

from fairseq_distil.data.masked_lm_dataset import ITEMS
from fairseq_distil.data.split_names import name_splits
from fairseq_distil.errors import UserError
from fairseq_distil.losses import TermScales, WordOutcomes, teacher_outcomes

from .kept_outputs import OPTION, SUFFIX, Outputs, kept_outputs, require_folder
from .teacher_outputs import add_tokens, collated, compute_outputs, digest_of_weights, type_of_products

LEAST_PROBABILITY = 2.0**-24
"""The least that float16 tells from 0."""


class SoftTargetCache:
    """What the teachers give for each masked token of a split: its K likeliest words, and any other as one outcome.

    That is ``4 K + 2`` bytes a token, or ``6 K + 2`` with more than 65,536 words, where logits in half precision would
    take two for every word. A split's outcomes with the masks of an epoch are computed by all workers together when
    their first batch comes, in the memory of the first worker, which writes them to ``<split>.<epoch>.teacher``. They
    are computed again if the teachers, their type or weights, the type of products, K, the temperature, the token ids
    or the masks have changed.

    Args:
        folder: of the files; all workers share it
        task: ``distil_masked_lm`` with masks that repeat; its batches tell their split from now on

    Raises:
        UserError: masks do not repeat, or the folder cannot be one, or holds nothing and cannot be written
    """

    def __init__(self, folder: Path, task: FairseqTask) -> None:
        _require_repeated_masks(task)
        require_folder(folder)
        self.folder = folder
        self.task = task
        self._opened: Dict[Tuple[str, int], Outputs] = {}
        name_splits(task)

    def outcomes(self, model: BaseFairseqModel, sample: Dict[str, Any], scales: TermScales) -> WordOutcomes:
        """Those of the masked tokens of a batch, in their order.

        Args:
            model: whose teachers compute what is not stored yet
            sample: a batch of the task, on the model's device
            scales: temperature, words and teachers' weights

        Raises:
            UserError: an outcome is not finite, a file is not of this kind, or the folder cannot be written
            StopRequested: SIGTERM came to any worker
        """
        masks, device = (sample["split"], sample["mask_epoch"]), sample["id"].device
        if masks not in self._opened:
            self._opened[masks] = self._open(*masks, model, scales, device)
        values, starts = self._opened[masks]
        rows = np.concatenate([values[:0], *(values[starts[item] : starts[item + 1]] for item in sample[ITEMS])])
        if len(rows) != (masked := len(sample["positions"]["masked"])):
            raise UserError(
                f"{OPTION} keeps soft targets of {len(rows):,} masked tokens for a batch of {masks[0]} that has "
                f"{masked:,}, as training data have that are validated with task.mask_prob instead of "
                "task.mask_prob_schedule; do not validate on them, or give both the same rate"
            )
        probabilities = torch.from_numpy(rows["probabilities"]).to(device)
        log_probabilities = probabilities.float().clamp_(min=LEAST_PROBABILITY).log_().log_softmax(-1)
        return WordOutcomes(torch.from_numpy(rows["words"].astype(np.int64)).to(device), log_probabilities)

    def _open(
        self,
        split: str,
        mask_epoch: int,
        model: BaseFairseqModel,
        scales: TermScales,
        device: torch.device,
    ) -> Outputs:
        dataset = copy.copy(self.task.datasets[split].dataset)
        dataset.epoch = mask_epoch
        data, starts = _masked_tokens(dataset)
        description = {
            "teacher": " ".join(map(digest_of_weights, model.teachers)),
            "teachers' weights": str(scales.teacher_weights),
            "type of products": type_of_products(device),
            "soft targets": f"{scales.top_k} words at temperature {scales.temperature}",
            "data": data,
        }
        dtype = _dtype(model.config.vocabulary_size, scales.top_k)
        compute = partial(
            compute_outputs,
            partial(_outcomes, model, scales, dtype),
            dataset,
            starts,
            dtype,
            positions=min(teacher.config.max_positions for teacher in model.teachers),
            device=device,
        )
        path = self.folder / f"{split}.{mask_epoch}{SUFFIX}"
        return Outputs(kept_outputs(path, description, int(starts[-1]), dtype, len(dataset), compute), starts)


def _dtype(words: int, top_k: int) -> np.dtype:
    return np.dtype([("words", "<u2" if words <= 2**16 else "<u4", (top_k,)), ("probabilities", "<f2", (top_k + 1,))])


def _outcomes(
    model: BaseFairseqModel, scales: TermScales, dtype: np.dtype, sample: Dict[str, Any]
) -> List[NDArray[Any]]:
    """Of the masked tokens of each item of a batch."""
    masked = sample["positions"]["masked"]
    outcomes = teacher_outcomes(model.soft_target_projections(sample["net_input"], masked), scales)
    rows = np.empty(len(masked), dtype)
    rows["words"] = outcomes.words.cpu().numpy()
    rows["probabilities"] = outcomes.log_probabilities.exp().cpu().numpy()
    return np.split(rows, np.cumsum(_masked_of_each(sample))[:-1])


def _masked_tokens(dataset: Any) -> Tuple[str, NDArray[np.int64]]:
    """SHA-256 of the token ids and the places of the masks, and where each item's masked tokens begin, and end."""
    total = hashlib.sha256()
    counts: List[Sequence[int]] = [[0]]
    for sample in collated(dataset):
        add_tokens(total, sample["net_input"]["src_tokens"])
        add_tokens(total, sample["positions"]["masked"])
        counts.append(_masked_of_each(sample))
    return total.hexdigest(), np.cumsum(np.concatenate(counts))


def _masked_of_each(sample: Dict[str, Any]) -> NDArray[np.int64]:
    items, length = sample["net_input"]["src_tokens"].shape
    masked: Tensor = sample["positions"]["masked"]
    return np.bincount(masked.cpu().numpy() // length, minlength=items)


def _require_repeated_masks(task: FairseqTask) -> None:
    """Before a run has begun, rather than in its first step."""
    after, schedule = task.cfg.repeat_masks_after, task.mask_prob_schedule
    if after is None:
        raise UserError(
            f"{OPTION} keeps soft targets of masked tokens, but masks change from epoch to epoch; let them repeat with "
            "--repeat-masks-after (task.repeat_masks_after)"
        )
    directories = len(utils.split_paths(task.cfg.data))
    if after % directories:
        raise UserError(
            f"task.repeat_masks_after is {after}, but {OPTION} needs a multiple of the {directories} directories of "
            "data, which come in turn"
        )
    if schedule is not None and not (schedule.is_constant and schedule.last >= task.cfg.mask_prob):
        raise UserError(
            f"{OPTION} needs masks that stay the same, but task.mask_prob_schedule is {task.cfg.mask_prob_schedule}; "
            f"give constant:RATE, of at least task.mask_prob, {task.cfg.mask_prob}, or leave it out"
        )
