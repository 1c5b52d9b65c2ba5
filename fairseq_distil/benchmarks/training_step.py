"""One honest optimizer step: a batch is made, masked, learned from, and the weights are updated."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from fairseq import utils
from torch import Tensor

from .training_case import TrainingCase
from .training_parts import CLIP_NORM, TrainingParts

Stage = Callable[[str], AbstractContextManager]


def no_stages(_: str) -> AbstractContextManager:
    """Nobody wants to know of the stages."""
    return nullcontext()


class TrainingStep:
    """What ``fairseq-train`` does for one update, without its logs and checks.

    Args:
        parts: see :class:`TrainingParts`
        case: the batch's size, and the device
        stage: a context for each stage of the step by its name
    """

    def __init__(self, parts: TrainingParts, case: TrainingCase, stage: Stage = no_stages) -> None:
        self.parts = parts
        self.case = case
        self.stage = stage
        self.updates = 0
        self.masked_tokens = 0
        self.computed_in: torch.dtype | None = None
        self._dataset = parts.task.dataset("train")
        parts.criterion.register_forward_pre_hook(self._note_dtype)

    def __call__(self) -> Tensor:
        """Do one update.

        Returns:
            The objective, as the mean that the gradient is of: a float32 scalar on the device.
        """
        task, model, criterion, optimizer = self.parts
        with self.stage("batch"):
            sample = self._next_batch()
        optimizer.zero_grad()
        loss, sample_size, _ = task.train_step(sample, model, criterion, optimizer, self.updates)
        sample_size = sample_size or 1  # as fairseq does where no token is masked
        with self.stage("clipping"):
            optimizer.multiply_grads(1 / sample_size)
            optimizer.clip_grad_norm(CLIP_NORM)
        with self.stage("optimizer"):
            task.optimizer_step(optimizer, model=model, update_num=self.updates)
        self.updates += 1
        return loss.detach() / sample_size

    def _next_batch(self) -> dict:
        size, count = self.case.batch, len(self._dataset)
        first = self.updates * size
        sample = self._dataset.collater([self._dataset[index % count] for index in range(first, first + size)])
        self.masked_tokens += len(sample["positions"]["masked"])
        return utils.move_to_cuda(sample) if self.case.device_type == "cuda" else sample

    def _note_dtype(self, *_: object) -> None:
        """Called within the task's autocast, before anything is computed."""
        device_type = self.case.device_type
        autocast = torch.is_autocast_enabled(device_type)
        self.computed_in = torch.get_autocast_dtype(device_type) if autocast else torch.float32
