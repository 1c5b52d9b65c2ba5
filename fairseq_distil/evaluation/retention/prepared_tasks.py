"""The tasks' data as the encoders read them, prepared once for all of them."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from fairseq_distil.atomic_file import write_whole
from fairseq_distil.data.labelled.glue import GLUE_TASKS
from fairseq_distil.data.labelled.prepare import prepare_labelled
from fairseq_distil.data.squad.prepare import prepare_squad
from fairseq_distil.data.squad.windows import WindowSizes
from fairseq_distil.data.text_files import require_text_file
from fairseq_distil.errors import UserError
from fairseq_distil.fingerprint import digest
from fairseq_distil.json_file import read_json_object

from .downstream_tasks import DOWNSTREAM_TASKS, DownstreamTask
from .own_tasks import SPLITS, require_suitable, sample_sizes

SQUAD = "SQuAD"
MOST_TOKENS = 128
"""Of a sample of GLUE, as in the reference."""


def find_tasks(
    glue: Path | None, squad: Path | None, names: list[str] | None, own: Sequence[DownstreamTask] = ()
) -> list[DownstreamTask]:
    """The named tasks, or all whose training data is there, in the order of the paper's table, then one's own.

    Raises:
        UserError: there is none, or a name is unknown or needs a directory that is not given
    """
    if names is None:
        present = [name for name in GLUE_TASKS if glue is not None and (glue / name / "train.tsv").is_file()]
        names = present + [SQUAD] * (squad is not None) + [task.name for task in own]
        if not names:
            raise UserError(f"{glue}: no task of GLUE, which would be a directory such as RTE with train.tsv")
    known = DOWNSTREAM_TASKS | {task.name: task for task in own}
    for name in names:
        if name not in known:
            raise UserError(f"--tasks: no task {name}; choose from {', '.join(known)}")
        if known[name].data is None and (squad if name == SQUAD else glue) is None:
            option = "--squad" if name == SQUAD else "--glue"
            raise UserError(f"--tasks: {name} needs {option}, the directory with its official files")
    return [task for name, task in known.items() if name in names]


def prepare_task(
    task: DownstreamTask, glue: Path | None, squad: Path | None, data: Path, output: Path, positions: int
) -> Path:
    """Prepare a task's data below ``output``, unless that is done; returns their directory. One's own are checked.

    Args:
        task: see :func:`find_tasks`
        glue: directory with a directory a task
        squad: directory with the two files of SQuAD
        data: of the pre-training, with ``dict.txt`` and the tokeniser
        output: for the data of all tasks
        positions: of the shortest encoder

    Raises:
        UserError: something is wrong with the files, or what is there was prepared from other ones
    """
    if task.data is not None:
        require_suitable(task, data, positions)
        return task.data
    directory = output / task.name
    if task.name == SQUAD:
        files, sizes = _squad_files(squad), _window_sizes(positions)
        if _is_new(directory, data, list(files.values()), sizes):
            prepare_squad(files, data, directory, sizes, workers=len(os.sched_getaffinity(0)))
    else:
        glue_task = GLUE_TASKS[task.name]
        tables = glue_task.tables(glue / task.name)
        most_tokens = sample_limits(task, positions)["max_tokens"]
        if _is_new(directory, data, [table.path for table in tables.values()], most_tokens):
            skip_bad_rows = task.name == "QQP"  # the official file has some
            prepare_labelled(tables, glue_task.labels, data, directory, most_tokens, skip_bad_rows)
    return directory


def sample_limits(task: DownstreamTask, positions: int) -> dict[str, int]:
    """Largest sizes of a task's samples in tokens, as the options of the scripts that prepare them are called.

    Args:
        task: see :func:`find_tasks`; of one's own, the longest sample that is there
        positions: of the shortest encoder
    """
    if task.data is not None:
        return {"longest_sample": max(int(sample_sizes(task.data, split).max()) for split in SPLITS)}
    if task.name == SQUAD:
        return asdict(_window_sizes(positions))
    return {"max_tokens": min(MOST_TOKENS, positions)}


def _is_new(directory: Path, data: Path, files: Sequence[Path], sizes: object) -> bool:
    """Whether a task is still to be prepared; notes what from.

    Raises:
        UserError: it was prepared from something else
    """
    for file in files:
        require_text_file(file)
    vocabulary = sorted(path for path in data.iterdir() if path.is_file() and path.suffix not in (".bin", ".idx"))
    source = {
        "files": [digest(file) for file in files],
        "vocabulary": [digest(path) for path in vocabulary],
        "tokens": str(sizes),
    }
    note = directory.with_name(f"{directory.name}.source.json")
    if not directory.exists():
        write_whole(note, json.dumps(source, indent=2) + "\n")
        return True
    held = read_json_object(note, "remove it and the data beside it") if note.exists() else {}
    if changed := [name for name, value in source.items() if held.get(name) != value]:
        raise UserError(
            f"{directory} was prepared from other {' and '.join(changed)} than are given now; remove it and its runs, "
            "or choose another --output"
        )
    return False


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
