#!/usr/bin/env python3
"""Write the sentences of paragraphs, one a line, for a student of a sentence encoder.

    python examples/minilm/split_sentences.py wiki.txt.xz --output sentences.txt

A sentence ends at a full stop, a question or an exclamation mark before a space and a capital letter; those of fewer
than 4 or more than 60 words are left out. A blank line stands between the sentences of two paragraphs.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from fairseq_distil.atomic_file import replace_whole
from fairseq_distil.data.sentence_boundary import SENTENCE_BOUNDARY
from fairseq_distil.data.text_files import read_lines

FEWEST_WORDS, MOST_WORDS = 4, 60


def sentences(paragraphs: Iterable[str]) -> Iterator[str]:
    """The sentences, and an empty one after each paragraph."""
    for paragraph in paragraphs:
        if not paragraph.strip():
            continue
        for sentence in SENTENCE_BOUNDARY.split(paragraph.strip()):
            if FEWEST_WORDS <= len(sentence.split()) <= MOST_WORDS:
                yield sentence
        yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, metavar="TEXT", help="plain, .gz or .xz: one paragraph a line")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    lines = (f"{sentence}\n".encode() for sentence in sentences(read_lines(arguments.text)))
    replace_whole(arguments.output, lambda file: file.writelines(lines))


if __name__ == "__main__":
    main()
