"""The files of a prepared split: windows for the encoder, and what their answers' texts are read from.

``train.bin`` and ``train.idx`` hold the windows' ids; ``train.windows.npy`` and ``train.offsets.npy`` the tables of
:class:`~fairseq_distil.data.squad.encoding.EncodedParagraphs`; ``train.questions.json`` contexts, ids and answers.
"""

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fairseq_distil.data.indexed_writer import MMapIndexedWriter
from fairseq_distil.data.squad.encoding import WINDOW_COLUMNS, EncodedParagraphs
from fairseq_distil.data.squad.official import Paragraph
from fairseq_distil.errors import UserError
from fairseq_distil.json_file import read_json
from fairseq_distil.losses import UNKNOWN_POSITION

PREPARE = "prepare the data again, see scripts/prepare_squad.py"


class SplitCounts(NamedTuple):
    """What was written of a split."""

    questions: int
    windows: int
    tokens: int
    unfound: int
    longest: int
    """tokens of the longest window"""


def write_split(
    prefix: Path, dtype: type[np.integer], paragraphs: Sequence[Paragraph], encoded: Iterable[EncodedParagraphs]
) -> SplitCounts:
    """Write a split's files, the ids as they come.

    Args:
        prefix: path of the files without their endings
        dtype: of the ids
        paragraphs: all of them
        encoded: the same, encoded in parts, in their order
    """
    tables, offsets = [np.empty((0, len(WINDOW_COLUMNS)), np.int32)], [np.empty((0, 2), np.int32)]
    questions = rows = tokens = unfound = longest = 0
    with MMapIndexedWriter(prefix, dtype) as writer:
        for part in encoded:
            writer.append(part.ids, part.sizes)
            tables.append(part.windows + np.array([questions, 0, rows, 0, 0], np.int32))
            offsets.append(part.offsets)
            questions += part.questions
            rows += len(part.offsets)
            tokens += len(part.ids)
            unfound += part.unfound
            longest = max(longest, int(part.sizes.max(initial=0)))
    windows = np.concatenate(tables)
    np.save(f"{prefix}.windows.npy", windows, allow_pickle=False)
    np.save(f"{prefix}.offsets.npy", np.concatenate(offsets), allow_pickle=False)
    _write_questions(Path(f"{prefix}.questions.json"), paragraphs)
    return SplitCounts(questions, len(windows), tokens, unfound, longest)


def _write_questions(path: Path, paragraphs: Sequence[Paragraph]) -> None:
    questions = [
        {"id": question.id, "context": number, "answers": [answer.text for answer in question.answers]}
        for number, paragraph in enumerate(paragraphs)
        for question in paragraph.questions
    ]
    contexts = [paragraph.context for paragraph in paragraphs]
    with path.open("w", encoding="utf-8") as file:
        json.dump({"contexts": contexts, "questions": questions}, file)


class PreparedSplit:
    """The tables of a split, mapped from their files, and its texts, read when they are first needed.

    Args:
        prefix: path of the files without their endings, such as ``data-bin/squad/valid``

    Raises:
        UserError: a file is missing or damaged
    """

    def __init__(self, prefix: Path | str) -> None:
        self._prefix = str(prefix)
        self.windows: NDArray[np.int32] = self._load("windows.npy", len(WINDOW_COLUMNS))
        self.offsets: NDArray[np.int32] = self._load("offsets.npy", 2)

    def _load(self, ending: str, columns: int) -> NDArray[np.int32]:
        path = f"{self._prefix}.{ending}"
        try:
            table = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise UserError(f"data {path}: no such file; {PREPARE}") from None
        except Exception as error:  # numpy raises almost anything on a file of another kind
            raise UserError(f"data {path}: damaged ({error}); {PREPARE}") from None
        if not isinstance(table, np.ndarray):
            raise UserError(f"data {path}: an archive, expected {columns} columns; {PREPARE}")
        if table.ndim != 2 or table.shape[1] != columns or table.dtype != np.int32:
            raise UserError(f"data {path}: {table.dtype} of shape {table.shape}, expected {columns} columns; {PREPARE}")
        return table

    def require_fit(self, sizes: NDArray[np.integer]) -> None:
        """Check every number in the tables against the windows.

        Args:
            sizes: tokens of each window

        Raises:
            UserError: the tables are of other windows, or point outside of theirs
        """
        path = f"{self._prefix}.windows.npy"
        if len(sizes) != len(self.windows):
            raise UserError(
                f"data {path}: describes {len(self.windows):,} windows, but {self._prefix}.idx {len(sizes):,}; the "
                f"files are not of one run: {PREPARE}"
            )
        question, context_start, first_offset, start, end = np.asarray(self.windows, dtype=np.int64).T
        context_tokens = sizes - context_start - 1  # without the </s> at the end
        is_nowhere = (start == UNKNOWN_POSITION) & (end == UNKNOWN_POSITION)
        is_right = (
            (question >= 0)
            & (context_start > 0)
            & (context_tokens >= 0)
            & (first_offset >= 0)
            & (first_offset + context_tokens <= len(self.offsets))
            & (is_nowhere | ((start >= 0) & (start <= end) & (end < sizes)))
        )
        if not is_right.all():
            raise UserError(f"data {path}: window {int(np.argmin(is_right))} points outside of its text; {PREPARE}")

    @cached_property
    def _texts(self) -> dict[str, list]:
        path = Path(f"{self._prefix}.questions.json")
        try:
            texts = read_json(path, PREPARE)
        except UserError as error:
            raise UserError(f"data {error}") from None
        if not _are_texts(texts) or self.windows[:, 0].max(initial=-1) >= len(texts["questions"]):
            raise UserError(f"data {path}: not the questions of these windows; {PREPARE}")
        return texts

    @property
    def questions(self) -> int:
        """Number of questions, also of those that have no window."""
        return len(self._texts["questions"])

    def identifier(self, question: int) -> str:
        """The question's id in the official file."""
        return self._texts["questions"][question]["id"]

    def gold_answers(self, question: int) -> list[str]:
        """The texts that are right."""
        return self._texts["questions"][question]["answers"]

    def context(self, question: int) -> str:
        """The text that it is about."""
        return self._texts["contexts"][self._texts["questions"][question]["context"]]

    def text(self, window: int, start: int, end: int) -> str:
        """The part of the original context from one position of a window to another, both included."""
        question, context_start, first_offset, _, _ = map(int, self.windows[window])
        first_row = first_offset - context_start
        return self.context(question)[self.offsets[first_row + start, 0] : self.offsets[first_row + end, 1]]


def _are_texts(content: Any) -> bool:
    """Whether this is what :func:`_write_questions` writes."""
    match content:
        case {"contexts": list(contexts), "questions": list(questions)}:
            are_texts = all(isinstance(context, str) for context in contexts)
            return are_texts and all(_is_question(question, len(contexts)) for question in questions)
    return False


def _is_question(content: Any, contexts: int) -> bool:
    match content:
        case {"id": str(), "context": int(context), "answers": list(answers)}:
            return 0 <= context < contexts and all(isinstance(answer, str) for answer in answers)
    return False
