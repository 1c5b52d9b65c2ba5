import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from fairseq_distil.data.squad.official import Answer, Question, read_squad
from fairseq_distil.errors import UserError

QUESTION = {"id": "x1", "question": "Who?", "answers": [{"text": "Bob", "answer_start": 4}]}
CONTENT = {"data": [{"title": "t", "paragraphs": [{"context": "Hi, Bob.", "qas": [QUESTION]}]}]}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    def write_content(content: Any) -> Path:
        path = tmp_path / "squad.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write_content


def test_what_is_read(write: Callable) -> None:
    (paragraph,) = read_squad(write(CONTENT))
    assert paragraph == ("Hi, Bob.", (Question("x1", "Who?", (Answer("Bob", 4),)),))


def changed(*path: Any, value: Any) -> dict:
    """The content with one value changed, or removed where ``value`` is None."""
    content = deepcopy(CONTENT)
    node = content
    for key in path[:-1]:
        node = node[key]
    if value is None:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return content


PARAGRAPH = ("data", 0, "paragraphs", 0)
FIRST = (*PARAGRAPH, "qas", 0)
ANSWER = (*FIRST, "answers", 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[1]", "expected a list under 'data', found nothing"),
        (changed("data", value={}), "expected a list under 'data', found dict"),
        (changed("data", 0, "paragraphs", value=None), "article 0: expected a list under 'paragraphs', found nothing"),
        (changed(*PARAGRAPH, "context", value=None), "article 0, paragraph 0: expected a string under 'context'"),
        (changed(*FIRST, "id", value=7), "paragraph 0: a question: expected a string under 'id', found int"),
        (changed(*FIRST, "question", value=None), "question x1: expected a string under 'question', found nothing"),
        (changed(*FIRST, "answers", value=None), "question x1: expected a list under 'answers', found nothing"),
        (changed(*FIRST, "answers", value=[]), "question x1: has no answer; .* SQuAD 2.0"),
        (changed(*ANSWER, "text", value=None), "question x1: an answer: expected a string under 'text'"),
        (changed(*ANSWER, "answer_start", value="4"), "question x1: an answer: expected a number .* found str"),
        (changed(*ANSWER, "answer_start", value=True), "question x1: an answer: expected a number .* found bool"),
        (changed(*ANSWER, "answer_start", value=6), "question x1: answer_start is 6 .* 3 characters, .* has 8"),
        (changed(*ANSWER, "answer_start", value=-1), "question x1: answer_start is -1"),
        (changed(*PARAGRAPH, "qas", value=[QUESTION, QUESTION]), "question x1: a second question with this id"),
        (changed(*PARAGRAPH, "qas", value=[]), "holds no question"),
    ],
)
def test_what_is_wrong_is_named(write: Callable, content: Any, message: str) -> None:
    path = write(content)
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}: .*{message}"):
        read_squad(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no.json: no such file"):
        read_squad(tmp_path / "no.json")
    with pytest.raises(UserError, match="a directory"):
        read_squad(tmp_path)
