"""Reading the official JSON of SQuAD v1.1."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fairseq_distil.errors import UserError
from fairseq_distil.json_file import read_json


class Answer(NamedTuple):
    """An answer that a person gave, and the character of the context at which it begins."""

    text: str
    start: int


class Question(NamedTuple):
    """A question with at least one answer."""

    id: str
    text: str
    answers: tuple[Answer, ...]


class Paragraph(NamedTuple):
    """A context and what is asked about it."""

    context: str
    questions: tuple[Question, ...]


def read_squad(path: Path) -> list[Paragraph]:
    """The paragraphs of a file in the official layout of SQuAD v1.1, in its order.

    Raises:
        UserError: the file is missing, no JSON or of another layout; an answer begins outside its context, or a
            question's id is not its own
    """
    content = read_json(path, "give a file of SQuAD v1.1, such as dev-v1.1.json")
    paragraphs = list(_paragraphs(str(path), content))
    if not any(paragraph.questions for paragraph in paragraphs):
        raise UserError(f"{path}: holds no question; give a file of SQuAD v1.1")
    _require_different_ids(path, paragraphs)
    return paragraphs


def _paragraphs(file: str, content: Any) -> Iterator[Paragraph]:
    for number, article in enumerate(_field(content, "data", list, file)):
        article_place = f"{file}: article {number}"
        for index, paragraph in enumerate(_field(article, "paragraphs", list, article_place)):
            place = f"{article_place}, paragraph {index}"
            context = _field(paragraph, "context", str, place)
            entries = _field(paragraph, "qas", list, place)
            yield Paragraph(context, tuple(_question(file, place, context, entry) for entry in entries))


def _question(file: str, place: str, context: str, entry: Any) -> Question:
    identifier = _field(entry, "id", str, f"{place}: a question")
    place = f"{file}: question {identifier}"
    text = _field(entry, "question", str, place)
    answers = tuple(_answer(place, context, answer) for answer in _field(entry, "answers", list, place))
    if not answers:
        raise UserError(f"{place}: has no answer; every question of SQuAD v1.1 has one (is this SQuAD 2.0?)")
    return Question(identifier, text, answers)


def _answer(place: str, context: str, entry: Any) -> Answer:
    text = _field(entry, "text", str, f"{place}: an answer")
    start = _field(entry, "answer_start", int, f"{place}: an answer")
    if not 0 <= start <= len(context) - len(text):
        raise UserError(
            f"{place}: answer_start is {start} for an answer of {len(text)} characters, but the context has "
            f"{len(context)}; correct it, or leave the question out"
        )
    return Answer(text, start)


def _field(entry: Any, name: str, type_: type, place: str) -> Any:
    value = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(value, type_) or isinstance(value, bool):
        expected = {list: "a list", str: "a string", int: "a number"}[type_]
        found = "nothing" if value is None else type(value).__name__
        raise UserError(f"{place}: expected {expected} under {name!r}, found {found}; give a file of SQuAD v1.1")
    return value


def _require_different_ids(path: Path, paragraphs: list[Paragraph]) -> None:
    seen: set[str] = set()
    for question in (question for paragraph in paragraphs for question in paragraph.questions):
        if question.id in seen:
            raise UserError(f"{path}: question {question.id}: a second question with this id; ids must differ")
        seen.add(question.id)
