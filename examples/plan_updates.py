"""How many updates of a recipe this machine makes in some minutes of training.

    python examples/plan_updates.py --config-dir examples/quickstart/config --config-name student --minutes 10 \\
        task.data=DATA model.teacher=TEACHER [KEY=VALUE ...]

Makes a few updates of the recipe to time them, on batches that it would train on, and prints the number. Time for the
start, validations and checkpoints is not counted.
"""

import argparse
import logging
import statistics
import sys
import time
from itertools import islice
from pathlib import Path

logging.basicConfig(level=logging.WARNING)  # before fairseq, which would show all that it logs

import torch  # noqa: E402
from fairseq.data.iterators import GroupedIterator  # noqa: E402
from fairseq.trainer import Trainer  # noqa: E402

import fairseq_distil  # noqa: E402, F401  registers the parts
from fairseq_distil.benchmarks.recipe_trainer import recipe_trainer  # noqa: E402
from fairseq_distil.errors import UserError  # noqa: E402
from fairseq_distil.exit_status import exit_status  # noqa: E402

WARM_UP, FEWEST_TIMINGS, MOST_TIMINGS = 3, 5, 50
MOST_SECONDS = 15.0


def seconds_of_updates(trainer: Trainer) -> list[float]:
    """Of successive updates, the first ones left out.

    Raises:
        UserError: the data have too few batches
    """
    update_freq = trainer.cfg.optimization.update_freq[0]
    iterator = trainer.get_train_iterator(epoch=1, load_dataset=False).next_epoch_itr()
    trainer.begin_epoch(1)
    timings: list[float] = []
    for samples in islice(GroupedIterator(iterator, update_freq), WARM_UP + MOST_TIMINGS):
        start = time.perf_counter()
        trainer.train_step(samples)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        timings.append(time.perf_counter() - start)
        if len(timings) >= WARM_UP + FEWEST_TIMINGS and sum(timings[WARM_UP:]) > MOST_SECONDS:
            break
    if len(timings) < WARM_UP + FEWEST_TIMINGS:
        raise UserError(
            f"{trainer.cfg.task.data}: {len(timings)} updates are an epoch, too few to time; give more data, or "
            "--updates instead of --minutes"
        )
    return timings[WARM_UP:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-dir", type=Path, required=True, help="folder of the recipe")
    parser.add_argument("--config-name", required=True, help="recipe, without .yaml")
    parser.add_argument("--minutes", type=float, required=True, help="of training")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings of the recipe to change")
    options = parser.parse_args()

    def plan() -> None:
        overrides = (*options.overrides, "checkpoint.save_dir=none")
        trainer = recipe_trainer(options.config_dir.absolute(), options.config_name, *overrides)
        print(max(1, round(60 * options.minutes / statistics.median(seconds_of_updates(trainer)))))

    return exit_status(plan)


if __name__ == "__main__":
    sys.exit(main())
