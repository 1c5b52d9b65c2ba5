"""What a training is made from, and what begins with it."""

from pathlib import Path
from typing import NamedTuple

from fairseq import checkpoint_utils
from fairseq.criterions import FairseqCriterion
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from fairseq.trainer import Trainer
from omegaconf import DictConfig


class Run(NamedTuple):
    """What fairseq's trainer is made from."""

    cfg: DictConfig
    task: FairseqTask
    model: BaseFairseqModel
    criterion: FairseqCriterion

    def batch(self, split: str = "train", indices: list[int] | None = None) -> dict:
        """The collated batch of some items of a split, or of all."""
        if split not in self.task.datasets:
            self.task.load_dataset(split)
        dataset = self.task.datasets[split]
        return dataset.collater([dataset[index] for index in (range(len(dataset)) if indices is None else indices)])

    def trainer(self) -> Trainer:
        """A new one of fairseq's."""
        return Trainer(self.cfg, self.task, self.model, self.criterion)

    def go_on(self) -> Trainer:
        """Begin as a command does: from the checkpoint that the settings name, or from nothing."""
        trainer = self.trainer()
        checkpoint_utils.load_checkpoint(self.cfg.checkpoint, trainer)
        return trainer

    def save_checkpoint(self, path: Path) -> str:
        """Write a checkpoint by fairseq's trainer."""
        trainer = self.trainer()
        trainer.consolidate_optimizer()
        trainer.save_checkpoint(str(path), {"epoch": 1})
        return str(path)
