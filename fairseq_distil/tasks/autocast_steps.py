"""Steps of training and validation under autocast, for the tasks that have the option ``--autocast-dtype``."""

from typing import Any, Dict, Optional

import torch
from fairseq.models import BaseFairseqModel

from fairseq_distil.modules import autocast, keep_released_memory


class AutocastSteps:
    """Comes before a fairseq task among the bases of a class whose ``cfg`` has ``autocast_dtype`` and ``amp``."""

    keeps_released_memory = True
    """On CPUs, which a benchmark takes from fairseq's own encoder."""

    def train_step(
        self,
        sample: Dict[str, Any],
        model: BaseFairseqModel,
        criterion: torch.nn.Module,
        optimizer: Any,
        update_num: int,
        ignore_grad: bool = False,
    ) -> Any:
        """One forward, under autocast, and backward; see :meth:`fairseq.tasks.FairseqTask.train_step`."""
        if self.keeps_released_memory and sample["target"].device.type == "cpu":
            keep_released_memory()
        sample = self.masked_for(sample, update_num)
        model.train()
        model.set_num_updates(update_num)
        with torch.autograd.profiler.record_function("forward"), self._autocast(sample):
            loss, sample_size, logging_output = criterion(model, sample)
        if ignore_grad:
            loss *= 0
        with torch.autograd.profiler.record_function("backward"):
            optimizer.backward(loss)
        return loss, sample_size, logging_output

    def valid_step(self, sample: Dict[str, Any], model: BaseFairseqModel, criterion: torch.nn.Module) -> Any:
        sample = self.masked_for(sample, None)
        with self._autocast(sample):
            return super().valid_step(sample, model, criterion)

    def masked_for(self, sample: Dict[str, Any], update: Optional[int]) -> Dict[str, Any]:
        """A batch with the masks of an update; None: of validation. As it is, unless the task changes masks."""
        return sample

    def _autocast(self, sample: Dict[str, Any]) -> torch.autocast:
        device_type, name = sample["target"].device.type, str(self.cfg.autocast_dtype)
        if name == "none" and self.cfg.amp and device_type == "cuda":
            name = "float16"  # what --amp means in fairseq
        dtype: Optional[torch.dtype] = None if name == "none" else getattr(torch, name)
        return autocast(device_type, dtype)
