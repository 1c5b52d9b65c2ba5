"""Tables of labelled texts to the directory that fairseq's task ``sentence_prediction`` trains from."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fairseq.data import Dictionary
from tqdm import tqdm

from fairseq_distil.data.atomic_directory import atomic_directory
from fairseq_distil.data.binarize import DictionaryIds, EncodedLines
from fairseq_distil.data.dictionary_check import load_shared_dictionary
from fairseq_distil.data.indexed_writer import MMapIndexedWriter
from fairseq_distil.data.labelled.labels import Labels
from fairseq_distil.data.labelled.table import Row, Table
from fairseq_distil.data.labelled.truncation import fitting_lengths
from fairseq_distil.data.text_files import require_text_file
from fairseq_distil.data.tokenizers import Tokenizer, load_tokenizer
from fairseq_distil.errors import UserError

ROWS_AT_A_TIME = 1000


@dataclass
class SplitCounts:
    """What became of the rows of a split."""

    rows: int = 0
    truncated: int = 0
    skipped: int = 0

    def skip(self) -> None:
        self.skipped += 1


class TextEncoder:
    """Turns rows into the inputs of a sample: ``A </s>`` and ``B </s>``; fairseq puts ``<s>`` before the first.

    Args:
        tokenizer: of the pre-training
        dictionary: of the pre-training
        max_tokens: of a sample, special ones included
    """

    def __init__(self, tokenizer: Tokenizer, dictionary: Dictionary, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._dictionary_ids = DictionaryIds(tokenizer, dictionary)
        self.dtype = self._dictionary_ids.dtype

    def __call__(self, rows: Sequence[Row], counts: SplitCounts) -> list[EncodedLines]:
        """The first texts, and the second ones where there are any."""
        columns = [self._tokenizer.encode_ids(texts) for texts in zip(*(row.texts for row in rows), strict=True)]
        room = self._max_tokens - 1 - len(columns)  # <s>, and </s> after each text
        for texts in zip(*columns, strict=True):
            lengths = [len(ids) for ids in texts]
            fitting = fitting_lengths(lengths, room)
            counts.truncated += fitting != lengths
            for ids, length in zip(texts, fitting, strict=True):
                del ids[length:]
        return [self._dictionary_ids(column) for column in columns]


def prepare_labelled(
    tables: Mapping[str, Table], labels: Labels, data: Path, output: Path, max_tokens: int, skip_bad_rows: bool = False
) -> str:
    """Write the output directory, all of it or nothing.

    Args:
        tables: by the name of the split
        labels: what the labels are
        data: directory with the ``dict.txt`` and the tokeniser of the pre-training
        output: the directory, which must not exist
        max_tokens: of a sample, special ones included; longer texts are cut
        skip_bad_rows: leave bad rows out and count them, instead of an error

    Returns:
        one line that sums up what was written

    Raises:
        UserError: something is wrong with the output, a table, the tokeniser or the dictionary
    """
    for table in tables.values():
        require_text_file(table.path)
    dictionary, tokenizer = load_shared_dictionary([str(data)]), load_tokenizer(data)
    encoder = TextEncoder(tokenizer, dictionary, max_tokens)
    total = sum(table.path.stat().st_size for table in tables.values())
    counts = {split: SplitCounts() for split in tables}
    with atomic_directory(output) as directory, tqdm(total=total, unit="B", unit_scale=True, disable=None) as progress:
        for split, table in tables.items():
            skip = counts[split].skip if skip_bad_rows else None
            rows = table.rows(labels, skip, progress.update)
            _write_split(split, rows, labels, encoder, directory, counts[split])
            if counts[split].rows == 0:
                raise UserError(f"{table.path}: no rows are left; expected at least one")
        labels.finish(_subdirectory(directory, "label"))
        # Beside the inputs for fairseq; beside the tokeniser for whatever else takes --data.
        for place in (directory, *directory.glob("input*")):
            (place / "dict.txt").write_bytes((data / "dict.txt").read_bytes())
        tokenizer.save(directory)
    return _summary(output, labels, counts, max_tokens)


def _write_split(
    split: str, rows: Iterator[Row], labels: Labels, encoder: TextEncoder, directory: Path, counts: SplitCounts
) -> None:
    values = []
    with ExitStack() as writers_to_close:
        writers: list[MMapIndexedWriter] = []
        for chunk in _chunks(rows):
            inputs = encoder(chunk, counts)
            for number in range(len(writers), len(inputs)):
                prefix = _subdirectory(directory, f"input{number}") / split
                writers.append(writers_to_close.enter_context(MMapIndexedWriter(prefix, encoder.dtype)))
            for writer, encoded in zip(writers, inputs, strict=True):
                writer.append(encoded.ids, encoded.sizes)
            values += [row.label for row in chunk if row.label is not None]
            counts.rows += len(chunk)
    if values:
        labels.write(values, split, _subdirectory(directory, "label"))


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    return iter(lambda: list(itertools.islice(rows, ROWS_AT_A_TIME)), [])


def _subdirectory(directory: Path, name: str) -> Path:
    (directory / name).mkdir(exist_ok=True)
    return directory / name


def _summary(output: Path, labels: Labels, counts: Mapping[str, SplitCounts], max_tokens: int) -> str:
    splits = [
        f"{split} {count.rows:,} rows, {count.truncated:,} cut to {max_tokens} tokens"
        + (f", {count.skipped:,} bad rows left out" if count.skipped else "")
        for split, count in counts.items()
    ]
    return " | ".join([f"{output}: {labels}", *splits])
