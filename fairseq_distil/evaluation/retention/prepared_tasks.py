"""The tasks' data as the encoders read them, prepared once for all of them."""

import os
from pathlib import Path

from fairseq_distil.data.dictionary_check import load_shared_dictionary
from fairseq_distil.data.labelled.glue import GLUE_TASKS
from fairseq_distil.data.labelled.prepare import prepare_labelled
from fairseq_distil.data.squad.prepare import prepare_squad
from fairseq_distil.data.squad.windows import WindowSizes
from fairseq_distil.errors import UserError

from .downstream_tasks import DOWNSTREAM_TASKS, DownstreamTask

SQUAD = "SQuAD"
MOST_TOKENS = 128
"""Of a sample of GLUE, as in the reference."""


def find_tasks(glue: Path | None, squad: Path | None, names: list[str] | None) -> list[DownstreamTask]:
    """The named tasks, or all whose training data is there, in the order of the paper's table.

    Raises:
        UserError: there is none, or a name is unknown or needs a directory that is not given
    """
    if names is None:
        present = [name for name in GLUE_TASKS if glue is not None and (glue / name / "train.tsv").is_file()]
        names = present + [SQUAD] * (squad is not None)
        if not names:
            raise UserError(f"{glue}: no task of GLUE, which would be a directory such as RTE with train.tsv")
    for name in names:
        if name not in DOWNSTREAM_TASKS:
            raise UserError(f"--tasks: no task {name}; choose from {', '.join(DOWNSTREAM_TASKS)}")
        if (squad if name == SQUAD else glue) is None:
            option = "--squad" if name == SQUAD else "--glue"
            raise UserError(f"--tasks: {name} needs {option}, the directory with its official files")
    return [task for name, task in DOWNSTREAM_TASKS.items() if name in names]


def prepare_task(
    task: DownstreamTask, glue: Path | None, squad: Path | None, data: Path, output: Path, positions: int
) -> Path:
    """Prepare a task's data below ``output``, unless that is done; returns their directory.

    Args:
        task: see :func:`find_tasks`
        glue: directory with a directory a task
        squad: directory with the two files of SQuAD
        data: of the pre-training, with ``dict.txt`` and the tokeniser
        output: for the data of all tasks
        positions: of the shortest encoder

    Raises:
        UserError: something is wrong with the files, or what is there was prepared for another dictionary
    """
    directory = output / task.name
    if directory.exists():
        load_shared_dictionary([str(data), str(directory)])
    elif task.name == SQUAD:
        sizes = _window_sizes(positions)
        prepare_squad(_squad_files(squad), data, directory, sizes, workers=os.cpu_count() or 1)
    else:
        glue_task = GLUE_TASKS[task.name]
        tables = glue_task.tables(glue / task.name)
        skip_bad_rows = task.name == "QQP"  # the official file has some
        most_tokens = min(MOST_TOKENS, positions)
        prepare_labelled(tables, glue_task.labels, data, directory, most_tokens, skip_bad_rows)
    return directory


def _window_sizes(positions: int) -> WindowSizes:
    """The reference's, or a third of them for encoders with fewer positions."""
    default = WindowSizes()
    if positions >= default.length:
        return default
    return WindowSizes(positions, positions // 3, min(default.question_length, positions // 3))


def _squad_files(directory: Path) -> dict[str, Path]:
    files = {}
    for split, pattern in (("train", "train*.json"), ("valid", "dev*.json")):
        found = sorted(directory.glob(pattern))
        if len(found) != 1:
            raise UserError(f"--squad {directory}: {len(found)} files {pattern}, but there must be one")
        files[split] = found[0]
    return files
