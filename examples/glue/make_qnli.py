#!/usr/bin/env python3
"""Make training data like QNLI's from SQuAD v1.1: does this sentence of the paragraph hold the answer?

    python examples/glue/make_qnli.py train-v1.1.json --rows 10000 --output GLUE/QNLI/train.tsv

QNLI itself was made of SQuAD in this way; its own choice of sentences is not known. Each row is a question with the
sentence that its first answer begins in, ``entailment``, or with another sentence of the paragraph that shares the most
words with it, ``not_entailment``; half of the rows each, of different questions.
"""

import argparse
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from fairseq_distil.atomic_file import write_whole
from fairseq_distil.data.sentence_boundary import SENTENCE_BOUNDARY
from fairseq_distil.data.squad.official import Paragraph, Question, read_squad
from fairseq_distil.errors import UserError
from fairseq_distil.exit_status import exit_status


def split_sentences(context: str) -> list[tuple[int, str]]:
    """Each sentence after the character at which it begins."""
    starts = [0, *(match.end() for match in SENTENCE_BOUNDARY.finditer(context))]
    return [(start, context[start:end]) for start, end in zip(starts, [*starts[1:], len(context)], strict=True)]


def rows(paragraphs: list[Paragraph], seed: int) -> Iterator[tuple[str, str, str]]:
    """Question, sentence and label, in a random order of the questions, the labels in turn."""
    questions = [(paragraph.context, question) for paragraph in paragraphs for question in paragraph.questions]
    random.Random(seed).shuffle(questions)
    entailment = True
    for context, question in questions:
        sentence = choose_sentence(context, question, entailment)
        if sentence is not None:
            yield one_line(question.text), one_line(sentence), "entailment" if entailment else "not_entailment"
            entailment = not entailment


def choose_sentence(context: str, question: Question, entailment: bool) -> str | None:
    """The sentence that the answer begins in, or the other one most like the question; None if there is none."""
    answer = question.answers[0]
    sentences = split_sentences(context)
    holding = max(number for number, (start, _) in enumerate(sentences) if start <= answer.start)
    if entailment:
        return sentences[holding][1]
    others = [text for number, (_, text) in enumerate(sentences) if number != holding and answer.text not in text]
    return max(others, key=lambda text: len(words(text) & words(question.text)), default=None)


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def one_line(text: str) -> str:
    return " ".join(text.split())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("squad", type=Path, metavar="JSON", help="official file of SQuAD v1.1")
    parser.add_argument("--rows", type=int, help="how many at most (default: one of each question)")
    parser.add_argument("--seed", type=int, default=1, help="of the order (default: 1)")
    parser.add_argument("--output", type=Path, required=True, metavar="TSV")
    options = parser.parse_args()
    return exit_status(lambda: run(options))


def run(options: argparse.Namespace) -> None:
    if options.rows is not None and options.rows < 1:
        raise UserError(f"--rows is {options.rows}, but must be at least 1")
    if not options.output.parent.is_dir():
        raise UserError(f"--output {options.output}: no directory {options.output.parent}; make it first")
    found = list(rows(read_squad(options.squad), options.seed))[: options.rows]
    lines = [f"{index}\t" + "\t".join(row) for index, row in enumerate(found)]
    write_whole(options.output, "\n".join(["index\tquestion\tsentence\tlabel", *lines]) + "\n")
    print(f"{options.output}: {len(found):,} rows")


if __name__ == "__main__":
    sys.exit(main())
