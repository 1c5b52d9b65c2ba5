"""What a student keeps of its teacher: both are fine-tuned alike, several times, and compared by medians."""

from .downstream_tasks import DOWNSTREAM_TASKS, DownstreamTask
from .measure import Comparison, default_jobs, measure_retention, of_seed
from .overrides import overrides_of
from .own_tasks import own_task
from .prepared_tasks import find_tasks

__all__ = [
    "DOWNSTREAM_TASKS",
    "Comparison",
    "DownstreamTask",
    "default_jobs",
    "find_tasks",
    "measure_retention",
    "of_seed",
    "overrides_of",
    "own_task",
]
