"""Windows of ids worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
from fairseq.data import Dictionary

from fairseq_distil.data.squad.encoding import ParagraphEncoder
from fairseq_distil.data.squad.official import Answer, Paragraph, Question
from fairseq_distil.data.squad.windows import WindowSizes
from fairseq_distil.data.tokenizers import load_tokenizer

CONTEXT = "word4  word5 word6 word7 word8 nonsense"


@pytest.fixture
def encoder(data_with_tokenizer: Path):
    def make(keep_unfound: bool = False, **sizes: int) -> ParagraphEncoder:
        dictionary = Dictionary.load(str(data_with_tokenizer / "dict.txt"))
        tokenizer = load_tokenizer(data_with_tokenizer)
        return ParagraphEncoder(tokenizer, dictionary, WindowSizes(**sizes), keep_unfound)

    return make


def ask(*answers: Answer, text: str = "word0 word1 word2") -> Paragraph:
    return Paragraph(CONTEXT, (Question("q", text, answers),))


def windows_of(encoded) -> list[list[int]]:
    return [window.tolist() for window in np.split(encoded.ids, np.cumsum(encoded.sizes)[:-1])]


def test_one_window(encoder) -> None:
    """``wordN`` has id N + 4, ``<s>`` 0, ``</s>`` 2 and ``<unk>`` 3."""
    encoded = encoder()([ask(Answer("word5 word6", CONTEXT.index("word5")))])
    assert windows_of(encoded) == [[0, 4, 5, 6, 2, 8, 9, 10, 11, 12, 3, 2]]
    assert encoded.windows.tolist() == [[0, 5, 0, 6, 7]]
    assert encoded.offsets.tolist() == [[0, 5], [7, 12], [13, 18], [19, 24], [25, 30], [31, 39]]
    assert (encoded.questions, encoded.unfound) == (1, 0)


def test_the_answer_is_in_the_windows_that_hold_it_all(encoder) -> None:
    """The question is cut to 2 tokens, which leaves room for 3 of the context."""
    encoded = encoder(length=8, stride=1, question_length=2)([ask(Answer("word6 word7", CONTEXT.index("word6")))])
    assert windows_of(encoded) == [
        [0, 4, 5, 2, 8, 9, 10, 2],  # holds word6 only: the first token stands for no answer
        [0, 4, 5, 2, 9, 10, 11, 2],
        [0, 4, 5, 2, 10, 11, 12, 2],
        [0, 4, 5, 2, 11, 12, 3, 2],
    ]
    assert encoded.windows.tolist() == [[0, 4, 0, 0, 0], [0, 4, 1, 5, 6], [0, 4, 2, 4, 5], [0, 4, 3, 0, 0]]


def test_several_paragraphs(encoder) -> None:
    """Offsets of the second context come after the first's six; each question has its number."""
    first = ask(Answer("word4", 0))
    second = Paragraph(
        "word9 word9", (Question("a", "word1", (Answer("word9", 6),)), Question("b", "", (Answer("word9", 0),)))
    )
    encoded = encoder()([first, second])
    assert encoded.windows.tolist() == [[0, 5, 0, 5, 5], [1, 3, 6, 4, 4], [2, 2, 6, 2, 2]]
    assert encoded.offsets[6:].tolist() == [[0, 5], [6, 11]]
    assert encoded.questions == 3


@pytest.mark.parametrize("wrong", [Answer("word6", 0), Answer("word6", CONTEXT.index("word6") + 1), Answer(" ", 5)])
def test_an_answer_that_is_not_there(encoder, wrong: Answer) -> None:
    paragraphs = [ask(wrong), ask(Answer("word4", 0))]
    left_out = encoder()(paragraphs)
    assert left_out.windows.tolist() == [[1, 5, 6, 5, 5]]
    assert (left_out.questions, left_out.unfound) == (2, 1)
    kept = encoder(keep_unfound=True)(paragraphs)
    assert kept.windows.tolist() == [[0, 5, 0, -1, -1], [1, 5, 6, 5, 5]]


def test_the_first_answer_that_is_there_counts(encoder) -> None:
    encoded = encoder()([ask(Answer("word6", 0), Answer("word8", CONTEXT.index("word8")), Answer("word4", 0))])
    assert encoded.windows.tolist() == [[0, 5, 0, 9, 9]]


def test_nothing(encoder) -> None:
    encoded = encoder()([Paragraph("\u200b", (Question("q", "word1", (Answer("\u200b", 0),)),))])
    assert (encoded.windows.shape, encoded.offsets.shape, encoded.unfound) == ((0, 5), (0, 2), 1)
