"""From paragraphs to windows of ids, with where each is in its context and where the answer is in it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import best_fitting_int_dtype
from numpy.typing import NDArray

from fairseq_distil.data.squad.official import Answer, Paragraph, Question
from fairseq_distil.data.squad.windows import WindowSizes, tokens_of_characters, window_ranges
from fairseq_distil.data.tokenizers import Tokenizer
from fairseq_distil.losses import UNKNOWN_POSITION

WINDOW_COLUMNS = ("question", "context_start", "first_offset", "answer_start", "answer_end")
FIRST_TOKEN = 0
"""Position of the answer in a window that does not hold it all, as DistilBERT's reference has it."""


class EncodedParagraphs(NamedTuple):
    """Windows of several paragraphs; questions and offsets are counted within them."""

    ids: np.ndarray
    """``(tokens,)``: the windows one after the other"""
    sizes: NDArray[np.int32]
    """``(windows,)``: tokens of each"""
    windows: NDArray[np.int32]
    """``(windows, 5)``: see ``WINDOW_COLUMNS``; the question's number, the position of the first context token, the row
    of ``offsets`` of that token, and the positions of the answer's first and last token"""
    offsets: NDArray[np.int32]
    """``(context tokens, 2)``: characters of the tokens of each context, one context after the other"""
    questions: int
    unfound: int
    """questions whose answer is not where ``answer_start`` says"""


class ParagraphEncoder:
    """Encodes paragraphs as ``<s> question </s> context </s>``.

    Args:
        tokenizer: of the pre-training
        dictionary: its dictionary
        sizes: of the windows
        keep_unfound: whether questions whose answer is not where ``answer_start`` says are kept, as for evaluation
    """

    def __init__(self, tokenizer: Tokenizer, dictionary: Dictionary, sizes: WindowSizes, keep_unfound: bool) -> None:
        self.dtype = best_fitting_int_dtype(len(dictionary))
        self._tokenizer = tokenizer
        self._dictionary_id_of_id = [dictionary.index(symbol) for symbol in tokenizer.symbol_of_id]
        self._begin, self._end = dictionary.bos(), dictionary.eos()
        self._sizes = sizes
        self._keep_unfound = keep_unfound

    def __call__(self, paragraphs: Sequence[Paragraph]) -> EncodedParagraphs:
        windows: list[list[int]] = []
        table: list[tuple[int, ...]] = []
        all_offsets: list[tuple[int, int]] = []
        questions = unfound = 0
        for paragraph in paragraphs:
            context_ids, offsets = self._tokenizer.encode_with_offsets(paragraph.context)
            context = self._dictionary_ids(context_ids)
            question_ids = self._tokenizer.encode_ids([question.text for question in paragraph.questions])
            for question, ids in zip(paragraph.questions, question_ids, strict=True):
                answer = _answer_tokens(paragraph.context, offsets, question)
                unfound += answer is None
                if answer is not None or self._keep_unfound:
                    for window, row in self._windows(self._dictionary_ids(ids), context, answer):
                        windows.append(window)
                        table.append((questions, row[0], len(all_offsets) + row[1], *row[2:]))
                questions += 1
            all_offsets += offsets
        return EncodedParagraphs(
            ids=np.array([index for window in windows for index in window], self.dtype),
            sizes=np.array([len(window) for window in windows], np.int32),
            windows=np.array(table, np.int32).reshape(-1, len(WINDOW_COLUMNS)),
            offsets=np.array(all_offsets, np.int32).reshape(-1, 2),
            questions=questions,
            unfound=unfound,
        )

    def _dictionary_ids(self, ids: Sequence[int]) -> list[int]:
        return [self._dictionary_id_of_id[index] for index in ids]

    def _windows(
        self, question: list[int], context: list[int], answer: tuple[int, int] | None
    ) -> Iterator[tuple[list[int], tuple[int, int, int, int]]]:
        start_of_window = [self._begin, *question[: self._sizes.question_length], self._end]
        context_start = len(start_of_window)
        for begin, end in window_ranges(len(context), self._sizes.room(len(question)), self._sizes.stride):
            if answer is None:
                positions = (UNKNOWN_POSITION, UNKNOWN_POSITION)
            elif begin <= answer[0] and answer[1] < end:
                positions = (context_start + answer[0] - begin, context_start + answer[1] - begin)
            else:
                positions = (FIRST_TOKEN, FIRST_TOKEN)
            yield [*start_of_window, *context[begin:end], self._end], (context_start, begin, *positions)


def _answer_tokens(context: str, offsets: Sequence[tuple[int, int]], question: Question) -> tuple[int, int] | None:
    """First and last context token of the first answer that is where it is said to be."""
    for answer in question.answers:
        if _is_there(context, answer):
            return tokens_of_characters(offsets, answer.start, answer.start + len(answer.text))
    return None


def _is_there(context: str, answer: Answer) -> bool:
    return bool(answer.text.strip()) and context[answer.start : answer.start + len(answer.text)] == answer.text
