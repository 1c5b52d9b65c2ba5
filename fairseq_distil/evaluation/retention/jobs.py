"""One fine-tuning of one encoder on one task, with one seed: its command, and what it leaves behind."""

import hashlib
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fairseq_distil.errors import UserError

from .downstream_tasks import DownstreamTask

PLAIN = re.compile(r"[\w./-]+")


@dataclass(frozen=True)
class Job:
    """What is fine-tuned, on what, and where.

    Args:
        model: the encoder's name in the report
        checkpoint: the encoder
        task: see :class:`DownstreamTask`
        recipe: its Hydra recipe
        data: its prepared data
        seed: of the head's weights, dropout and the order of the data
        folder: for the log, the checkpoints while it runs, and the result
        overrides: settings of the recipe to change, as ``fairseq-hydra-train`` takes them
    """

    model: str
    checkpoint: Path
    task: DownstreamTask
    recipe: Path
    data: Path
    seed: int
    folder: Path
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.model}, {self.task.name}, seed {self.seed}"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def curves(self) -> Path:
        """TensorBoard's files."""
        return self.folder / "tensorboard"

    def command(self) -> list[str]:
        """The ``fairseq-hydra-train`` that does it, or goes on with it."""
        return [
            str(Path(sys.executable).with_name("fairseq-hydra-train")),
            *("--config-dir", str(self.recipe.parent.absolute()), "--config-name", self.recipe.stem),
            f"task.data={hydra_value(self.data.absolute())}",
            f"model.pretrained={hydra_value(self.checkpoint.absolute())}",
            f"checkpoint.save_dir={hydra_value(self.checkpoints.absolute())}",
            f"common.tensorboard_logdir={hydra_value(self.curves.absolute())}",
            *(f"common.seed={self.seed}", "common.log_format=json"),
            *self.overrides,
        ]

    def prepare(self) -> None:
        """Make the folder, or check that what it holds is of this very job.

        Raises:
            UserError: it holds another job's
        """
        settings = json.dumps(self._settings(), indent=2) + "\n"
        path = self.folder / "settings.json"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(path, settings)
        elif path.read_text(encoding="utf-8") != settings:
            raise UserError(
                f"{self.folder} is of another encoder, recipe, data or settings than {self.name} is now; remove it, "
                "or choose another --output"
            )

    def _settings(self) -> dict[str, Any]:
        # Of the recipe's whole folder, for recipes include what they share.
        recipes = sorted(self.recipe.parent.glob("*.yaml"))
        return {
            "checkpoint": digest(self.checkpoint),
            "recipe": [self.recipe.stem, *map(digest, recipes)],
            "data": [digest(path) for path in sorted(self.data.rglob("*.idx"))],
            "overrides": list(self.overrides),
        }

    def result(self) -> dict[str, float] | None:
        """Scores in percent by the metrics' names; None while it is not finished."""
        path = self.folder / "result.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def finish(self) -> dict[str, float]:
        """Read the scores from the curves, keep them, and remove the checkpoints.

        Raises:
            UserError: there are none
        """
        best = best_scores(self.curves / "valid", self.task)
        if best is None:
            raise UserError(f"{self.name}: no validation with {self.task.metric}; see {self.log}")
        _write(self.folder / "result.json", json.dumps(best) + "\n")
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        return best


def best_scores(curves: Path, task: DownstreamTask) -> dict[str, float] | None:
    """Scores of the validation that chose the best checkpoint, the first one with the highest of the task's metric."""
    if not curves.is_dir():
        return None
    events = EventAccumulator(str(curves), size_guidance={"scalars": 0})
    events.Reload()
    if task.metric not in events.Tags()["scalars"]:
        return None
    values = {
        name: {event.step: event.value for event in events.Scalars(name)} for name in (task.metric, *task.details)
    }
    best = max(sorted(values[task.metric]), key=values[task.metric].get)
    return {name: round(by_update[best], 3) for name, by_update in values.items()}


def hydra_value(path: Path) -> str:
    """A path as a value of Hydra's command line, quoted where its grammar wants it."""
    text = str(path)
    if PLAIN.fullmatch(text):
        return text
    return "'" + text.replace("'", "\\'") + "'"


@cache
def digest(path: Path) -> str:
    """SHA-256 of a file, or of all files of a directory."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        with open(file, "rb") as opened:
            total.update(hashlib.file_digest(opened, "sha256").digest())
    return total.hexdigest()


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
