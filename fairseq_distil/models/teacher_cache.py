"""Outputs of a fine-tuned teacher that are computed once for a data set, and read back at each step."""

from functools import partial
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import torch
from fairseq.tasks import FairseqTask
from fairseq.tasks.sentence_prediction import SentencePredictionTask
from numpy.typing import NDArray
from torch import Tensor, nn

from fairseq_distil.data.split_names import name_splits
from fairseq_distil.data.stored_outputs import DTYPE
from fairseq_distil.errors import UserError

from .kept_outputs import OPTION, SUFFIX, Outputs, kept_outputs, require_folder
from .teacher_outputs import compute_outputs, digest_of_tokens, digest_of_weights, type_of_products


class TeacherCache:
    """What the head of a fine-tuned teacher gives for each item of a split, in float32.

    A split's outputs are computed by all workers together when its first batch comes, and written to
    ``<split>.teacher`` by the first worker. They are computed again if the teacher, its type, the type of products or
    the token ids have changed.

    Args:
        folder: of the files; all workers share it
        task: fine-tunes on sentences or answers; its batches tell their split from now on

    Raises:
        UserError: the task is another one, its items change from epoch to epoch, or the folder cannot be one, or holds
            nothing and cannot be written
    """

    def __init__(self, folder: Path, task: FairseqTask) -> None:
        _require_suitable(folder, task)
        self.folder = folder
        self.task = task
        self._opened: Dict[str, Outputs] = {}
        if isinstance(task, SentencePredictionTask):
            name_splits(task)

    def logits(self, teacher: nn.Module, sample: Dict[str, Any], head: Dict[str, Any]) -> Tensor:
        """What ``teacher(**net_input, **head)`` gives for a batch, but 0 at padding.

        Args:
            teacher: computes what is not stored yet
            sample: a batch of the task, on the teacher's device
            head: ``classification_head_name``, or ``answer_logits``

        Returns:
            ``(batch, outputs)`` or ``(batch, length, 2)``, float32

        Raises:
            UserError: an output is not finite, a file is not of this kind, or the folder cannot be written
            StopRequested: SIGTERM came to any worker
        """
        split, device = sample["split"], sample["id"].device
        if split not in self._opened:
            self._opened[split] = self._open(split, teacher, device, head)
        values, starts = self._opened[split]
        rows = [values[starts[item] : starts[item + 1]] for item in sample["id"].tolist()]
        padded = np.zeros((len(rows), max(map(len, rows))), DTYPE)
        for filled, row in zip(padded, rows, strict=True):
            filled[: len(row)] = row
        logits = torch.from_numpy(padded).to(device)
        if "answer_logits" not in head:
            return logits
        # A batch of nothing holds the first token of an item alone.
        return logits.view(len(rows), -1, 2)[:, : sample["net_input"]["src_tokens"].size(1)]

    def _open(self, split: str, teacher: nn.Module, device: torch.device, head: Dict[str, Any]) -> Outputs:
        dataset, path = self.task.datasets[split], self.folder / f"{split}{SUFFIX}"
        sizes = [
            2 * dataset.num_tokens(item) if "answer_logits" in head else self.task.cfg.num_classes
            for item in range(len(dataset))
        ]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        description = {
            "teacher": digest_of_weights(teacher),
            "head": str(sorted(head.items())),
            "type of products": type_of_products(device),
            "data": digest_of_tokens(dataset),
        }
        compute = partial(
            compute_outputs,
            partial(_head_outputs, teacher, head),
            dataset,
            starts,
            DTYPE,
            positions=teacher.max_positions(),
            device=device,
        )
        values = kept_outputs(path, description, int(starts[-1]), DTYPE, len(dataset), compute)
        return Outputs(values, starts)


def _head_outputs(teacher: nn.Module, head: Dict[str, Any], sample: Dict[str, Any]) -> List[NDArray[np.float32]]:
    """Of each item of a batch, with what padding gives."""
    logits: Tensor = teacher(**sample["net_input"], **head)[0]
    return list(logits.float().flatten(1).cpu().numpy())


def _require_suitable(folder: Path, task: FairseqTask) -> None:
    """Before a run has begun, rather than in its first step."""
    if "max_answer_tokens" not in task.cfg and not isinstance(task, SentencePredictionTask):
        raise UserError(
            f"{OPTION} stores what a teacher fine-tuned on one task gives; it needs the task sentence_prediction or "
            "question_answering, or distil_masked_lm"
        )
    if task.cfg.get("shorten_method") == "random_crop":
        raise UserError(f"{OPTION} needs texts that stay the same; give another task.shorten_method than random_crop")
    require_folder(folder)
