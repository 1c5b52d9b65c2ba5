"""Batches that tell which split they are of."""

from typing import Any

from fairseq.data import BaseWrapperDataset, FairseqDataset
from fairseq.tasks import FairseqTask


class NamedSplit(BaseWrapperDataset):
    """A split whose batches have its name as ``split``."""

    def __init__(self, dataset: FairseqDataset, name: str) -> None:
        super().__init__(dataset)
        self.name = name

    def collater(self, samples: list[Any]) -> dict[str, Any]:
        batch = self.dataset.collater(samples)
        if batch:  # fairseq takes an empty one for what it is
            batch["split"] = self.name
        return batch


def name_splits(task: FairseqTask) -> None:
    """Let batches of all splits that a task loads from now on tell their split."""
    load = task.load_dataset

    def load_named(split: str, *arguments: Any, **keywords: Any) -> FairseqDataset:
        load(split, *arguments, **keywords)
        if not isinstance(task.datasets[split], NamedSplit):  # as it is where several models have been built
            task.datasets[split] = NamedSplit(task.datasets[split], split)
        return task.datasets[split]

    task.load_dataset = load_named
