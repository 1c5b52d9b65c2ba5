"""The task from its settings, and its iterators as fairseq's trainer makes them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fairseq import tasks
from fairseq.data.iterators import EpochBatchIterator
from fairseq.dataclass.configs import FairseqConfig
from fairseq.dataclass.initialize import add_defaults
from fairseq.tasks import FairseqTask
from omegaconf import OmegaConf


@pytest.fixture
def setup_task(data: str) -> Callable[..., FairseqTask]:
    def setup(
        common: dict[str, Any] | None = None, optimization: dict[str, Any] | None = None, **settings: Any
    ) -> FairseqTask:
        task = {"_name": "distil_masked_lm", "data": data, "tokens_per_sample": 17, **settings}
        cfg = OmegaConf.merge(
            OmegaConf.structured(FairseqConfig),
            {"task": task, "common": common or {}, "optimization": optimization or {}},
        )
        add_defaults(cfg)
        return tasks.setup_task(cfg.task)

    return setup


@pytest.fixture
def iterator() -> Iterator[Callable]:
    """Makes iterators over epochs as fairseq's trainer does."""
    made = []

    def make(task: FairseqTask, split: str = "train", **settings: Any) -> EpochBatchIterator:
        settings = {"max_sentences": 4, "max_positions": task.max_positions(), "seed": 1} | settings
        made.append(task.get_batch_iterator(task.dataset(split), **settings))
        return made[-1]

    yield make
    for epochs in made:
        # Data workers stop at once where nothing refers to them any more; those that the garbage collector finds, late.
        epochs._cur_epoch_itr = epochs._next_epoch_itr = None
