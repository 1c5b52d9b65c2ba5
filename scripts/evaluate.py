#!/usr/bin/env python3
"""Compare checkpoints: size, speed, masked-LM quality, and what they fill in for a mask.

    python scripts/evaluate.py --model teacher=checkpoints/teacher/checkpoint_best.pt \
        --model student=checkpoints/student/checkpoint_best.pt --data data-bin/x --output report

The first model is the one that the others should agree with. Prints the tables, and writes report.md and report.json
to the output directory.
"""

import argparse
import logging
import sys
import warnings
from pathlib import Path

from fairseq_distil.errors import UserError
from fairseq_distil.evaluation import compare
from fairseq_distil.evaluation.report import markdown, write_report


def named_checkpoint(text: str) -> tuple[str, Path]:
    """Read ``NAME=CHECKPOINT``."""
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=CHECKPOINT")
    return name, Path(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=named_checkpoint, action="append", required=True, metavar="NAME=CHECKPOINT")
    parser.add_argument("--data", type=Path, required=True, help="binarised data that the models were trained on")
    parser.add_argument("--split", default="valid", help="split to evaluate (default: valid)")
    parser.add_argument("--sentence", action="append", default=[], help="a sentence with one <mask> to fill in")
    parser.add_argument("--batch-size", type=int, default=32, help="sequences of a batch (default: 32)")
    parser.add_argument("--output", type=Path, help="directory for report.md and report.json")
    arguments = parser.parse_args()
    logging.getLogger("fairseq").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="'pin_memory' argument")  # fairseq sets it without a GPU too
    names = [name for name, _ in arguments.model]
    try:
        if len(set(names)) < len(names):
            raise UserError(f"--model names must differ, found {', '.join(names)}")
        reports = compare(
            dict(arguments.model), arguments.data, arguments.split, arguments.sentence, arguments.batch_size
        )
        if arguments.output is not None:
            write_report(reports, arguments.output)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(markdown(reports))


if __name__ == "__main__":
    main()
