"""One fine-tuning of one encoder on one task, with one seed: its command, and what it leaves behind."""

import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fairseq_distil.atomic_file import write_whole
from fairseq_distil.errors import UserError
from fairseq_distil.fingerprint import digest
from fairseq_distil.json_file import read_json_object
from fairseq_distil.version import source_version

from .downstream_tasks import DownstreamTask

PLAIN = re.compile(r"[\w./-]+", re.ASCII)
PACKAGE = Path(__file__).parents[2]
DIGITS = 3
"""Digits of a score in percent that are kept after the point."""
REMOVE = "remove its folder, and run this again"


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
        teacher: whose best checkpoint it learns from as well; None: from the labels alone
    """

    model: str
    checkpoint: Path
    task: DownstreamTask
    recipe: Path
    data: Path
    seed: int
    folder: Path
    overrides: tuple[str, ...] = ()
    teacher: "Job | None" = None

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
    def best_checkpoint(self) -> Path:
        return self.checkpoints / "checkpoint_best.pt"

    @property
    def curves(self) -> Path:
        """TensorBoard's files."""
        return self.folder / "tensorboard"

    def command(self) -> list[str]:
        """The ``fairseq-hydra-train`` that does it, or goes on with it."""
        teacher = self.teacher and hydra_value(self.teacher.best_checkpoint.absolute())
        return [
            str(Path(sys.executable).with_name("fairseq-hydra-train")),
            *("--config-dir", str(self.recipe.parent.absolute()), "--config-name", self.recipe.stem),
            f"task.data={hydra_value(self.data.absolute())}",
            f"model.pretrained={hydra_value(self.checkpoint.absolute())}",
            f"checkpoint.save_dir={hydra_value(self.checkpoints.absolute())}",
            f"common.tensorboard_logdir={hydra_value(self.curves.absolute())}",
            f"common.user_dir={hydra_value(PACKAGE)}",  # the recipe's is relative to the repository
            *(f"common.seed={self.seed}", "common.log_format=json"),
            "distributed_training.distributed_world_size=1",  # one batch size, however many GPUs there are
            *self.overrides,
            *([f"++model.teacher={teacher}"] if teacher else []),
        ]

    def prepare(self) -> None:
        """Make the folder, or check that what it holds is of this very job.

        Raises:
            UserError: it holds another job's
        """
        settings = self._settings()
        path = self.folder / "settings.json"
        is_begun = self.result() is not None or any(self.checkpoints.glob("checkpoint*.pt"))
        if is_begun and path.exists():
            held = read_json_object(path, REMOVE)
            if changed := [_difference(name, held, settings) for name in settings if held.get(name) != settings[name]]:
                raise UserError(
                    f"{self.folder} is of another {' and '.join(changed)} than {self.name} is now; remove it, or "
                    "choose another --output"
                )
        else:
            write_whole(path, json.dumps(settings | {"version": source_version()}, indent=2) + "\n")

    def version(self) -> str:
        """Of this package, when it was begun."""
        path = self.folder / "settings.json"
        return str(read_json_object(path, REMOVE).get("version", "unknown")) if path.exists() else "unknown"

    def begin_again(self) -> None:
        """Forget what has been done. The result goes last, so that what interrupts this leaves it to be done."""
        for directory in (self.curves, self.checkpoints):
            shutil.rmtree(directory, ignore_errors=True)
        (self.folder / "result.json").unlink(missing_ok=True)
        self.prepare()

    def remove_checkpoints(self) -> None:
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def _settings(self) -> dict[str, Any]:
        shared = [name for name in OmegaConf.load(self.recipe).get("defaults", []) if name != "_self_"]
        recipes = [self.recipe, *(self.recipe.with_name(f"{name}.yaml") for name in shared)]
        return {
            "checkpoint": digest(self.checkpoint),
            "recipe": [digest(recipe) for recipe in recipes],
            "data": digest(self.data),
            "overrides": list(self.overrides),
            "teacher": self.teacher and self.teacher._settings(),
        }

    def result(self) -> dict[str, float] | None:
        """Scores in percent by the metrics' names; None while it is not finished."""
        path = self.folder / "result.json"
        return self._checked(read_json_object(path, REMOVE), path) if path.exists() else None

    def _checked(self, scores: dict[str, Any], path: Path) -> dict[str, float]:
        for metric in (self.task.metric, *self.task.details):
            if not isinstance(scores.get(metric), float | int):
                raise UserError(f"{path}: {metric} is {scores.get(metric)!r}, expected a number; {REMOVE}")
        return scores

    def finish(self) -> dict[str, float]:
        """Read the scores from the curves, and keep them.

        Raises:
            UserError: there are none
        """
        best = best_scores(self.curves / "valid", self.task)
        if best is None:
            raise UserError(f"{self.name}: no validation with {self.task.metric}; see {self.log}")
        write_whole(self.folder / "result.json", json.dumps(best) + "\n")
        return best


def best_scores(curves: Path, task: DownstreamTask) -> dict[str, float] | None:
    """Scores of the validation that chose the best checkpoint: the highest of the task's metric, of equals the last.

    Raises:
        UserError: the curves are damaged
    """
    if not curves.is_dir():
        return None
    events = EventAccumulator(str(curves), size_guidance={"scalars": 0})
    events.Reload()
    logged = events.Tags()["scalars"]
    if task.metric not in logged:
        return None
    values = {
        name: {event.step: event.value for event in events.Scalars(name)} if name in logged else {}
        for name in (task.metric, *task.details)
    }
    best = max(sorted(values[task.metric], reverse=True), key=values[task.metric].get)
    if missing := [name for name, by_update in values.items() if best not in by_update]:
        raise UserError(f"{curves}: damaged, for it lacks {missing[0]} of update {best}; {REMOVE}")
    return {name: round(by_update[best], DIGITS) for name, by_update in values.items()}


def _difference(name: str, held: dict[str, Any], settings: dict[str, Any]) -> str:
    if name != "overrides":
        return name
    differing = set(map(str, held.get(name) or ())).symmetric_difference(settings[name])
    return f"set of overrides (which differ in {', '.join(sorted(differing)) or 'their order'})"


def hydra_value(path: Path) -> str:
    """A path as a value of Hydra's command line, quoted where its grammar wants it."""
    text = str(path)
    if PLAIN.fullmatch(text):
        return text
    # Backslashes mean themselves, but before a quote.
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + (found[2] and "\\'"), text)
    return f"'{escaped}'"
