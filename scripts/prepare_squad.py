#!/usr/bin/env python3
"""SQuAD v1.1 to the windows that the task question_answering reads.

    python scripts/prepare_squad.py --train train-v1.1.json --valid dev-v1.1.json --data data-bin/x \
        --output data-bin/squad

Each question becomes windows <s> question </s> context </s>. The output holds train and valid, dict.txt and the
tokeniser's files. Training questions whose answer is not at their answer_start are left out and counted.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fairseq_distil.data.exit_status import exit_status
from fairseq_distil.data.squad.prepare import prepare_squad
from fairseq_distil.data.squad.windows import WindowSizes
from fairseq_distil.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    return exit_status(lambda: run(options))


def run(options: argparse.Namespace) -> None:
    files = {split: path for split in ("train", "valid") if (path := getattr(options, split))}
    if not files:
        raise UserError("neither --train nor --valid is given; give at least one file of SQuAD v1.1")
    if options.workers < 1:
        raise UserError(f"--workers is {options.workers}, but must be positive")
    sizes = WindowSizes(options.length, options.stride, options.question_length)
    print("\n".join(prepare_squad(files, options.data, options.output, sizes, options.workers)))


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    default = WindowSizes()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, metavar="JSON", help="official file to train on")
    parser.add_argument("--valid", type=Path, metavar="JSON", help="official file to evaluate on")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="data of the pre-training: dict.txt and the tokeniser"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new directory")
    parser.add_argument("--length", type=int, default=default.length, help="tokens of a window (default: %(default)s)")
    parser.add_argument(
        "--stride", type=int, default=default.stride, help="tokens from a window to the next (default: %(default)s)"
    )
    parser.add_argument(
        "--question-length",
        type=int,
        default=default.question_length,
        help="tokens after which a question is cut off (default: %(default)s)",
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes that encode (default: all cores)"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
