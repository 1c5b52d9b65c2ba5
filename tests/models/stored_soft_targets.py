"""Settings of a criterion whose soft targets can be stored, and batches for it."""

from typing import Any

WORDS, TEMPERATURE = 5, 3.0
STORED = {
    "soft_target_positions": "masked",
    "soft_target_top_k": WORDS,
    "soft_target_temperature": TEMPERATURE,
    "cosine_weight": 0.0,
}


def batch(run, split: str, items: list[int], epoch: int = 1) -> dict[str, Any]:
    """As in an epoch of training."""
    run.batch(split, items)
    run.task.datasets[split].set_epoch(epoch)
    return run.task.masked_for(run.batch(split, items), update=0)
