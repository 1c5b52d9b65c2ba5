"""What scripts/prepare_glue.py does with its options."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from fairseq_distil.data.atomic_directory import refuse_existing
from fairseq_distil.data.labelled.glue import GLUE_TASKS, TRAIN
from fairseq_distil.data.labelled.labels import Labels
from fairseq_distil.data.labelled.own_files import own_labels, own_tables, require_headers
from fairseq_distil.data.labelled.prepare import prepare_labelled
from fairseq_distil.data.labelled.table import Table
from fairseq_distil.data.prepare_options import OneLineErrorParser
from fairseq_distil.errors import UserError
from fairseq_distil.exit_status import exit_status

DESCRIPTION = """Labelled texts, or pairs of texts, to what fairseq's task sentence_prediction trains from.

Either a task of GLUE in its official files (--task, --input), or tsv files of your own (--train, --valid): a header,
then a text, perhaps a second text, and a label in each row. Quotation marks mean nothing. Files may be .gz or .xz."""
MIN_TOKENS = 5  # <s> A </s> B </s>
OWN_FILES = ("train", "valid", "test", "labels", "regression")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; a mistake of the user is one line on stderr and exit status 2."""
    return exit_status(lambda: print(_run(_parser().parse_args(arguments))))


def _run(options: argparse.Namespace) -> str:
    # The encoding of each chunk is short: the library's threads would cost more than they give.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if options.max_tokens < MIN_TOKENS:
        raise UserError(f"--max-tokens is {options.max_tokens}, but a pair of texts needs at least {MIN_TOKENS}")
    refuse_existing(options.output)
    tables, labels = _tables_and_labels(options)
    return prepare_labelled(tables, labels, options.data, options.output, options.max_tokens, options.skip_bad_rows)


def _tables_and_labels(options: argparse.Namespace) -> tuple[dict[str, Table], Labels]:
    if options.task is not None:
        if given := [f"--{name}" for name in OWN_FILES if getattr(options, name)]:
            raise UserError(f"{given[0]} is for files of your own, but --task names one of GLUE; leave one of them out")
        if options.input is None:
            raise UserError("--task needs --input: the directory with the official files of the task")
        task = GLUE_TASKS[options.task]
        return task.tables(options.input), task.labels
    if options.input is not None or options.train is None or options.valid is None:
        raise UserError("give --task and --input, or --train and --valid; see --help")
    tables = own_tables(options.train, options.valid, options.test)
    names = options.labels.split(",") if options.labels else None
    labels = own_labels(tables[TRAIN], options.regression, names)
    require_headers(tables.values(), labels)
    return tables, labels


def _parser() -> argparse.ArgumentParser:
    parser = OneLineErrorParser(
        description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="data of the pre-training: dict.txt and the tokeniser"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new directory for the result")
    parser.add_argument(
        "--max-tokens",
        type=int,
        default=128,
        metavar="N",
        help="of a sample, special ones included; longer texts are cut, of a pair the longer one first (default: 128)",
    )
    parser.add_argument(
        "--skip-bad-rows", action="store_true", help="leave them out and count them; the official QQP has some"
    )
    glue = parser.add_argument_group("a task of GLUE")
    glue.add_argument("--task", choices=list(GLUE_TASKS))
    glue.add_argument("--input", type=Path, metavar="DIR", help="with train.tsv, dev.tsv and perhaps test.tsv")
    own = parser.add_argument_group("files of your own")
    own.add_argument("--train", type=Path, metavar="FILE")
    own.add_argument("--valid", type=Path, metavar="FILE")
    own.add_argument("--test", type=Path, metavar="FILE", help="with labels or without")
    labels = own.add_mutually_exclusive_group()
    labels.add_argument("--labels", metavar="A,B", help="classes in order (default: those of --train, sorted)")
    labels.add_argument("--regression", action="store_true", help="labels are numbers, not classes")
    return parser
