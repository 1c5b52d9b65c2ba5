"""What scripts/benchmark_data.py does with its options."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from fairseq_distil.errors import UserError

from .collation import measure_collation
from .exit_status import quiet_exit_status
from .printed_record import print_record
from .sizes import require_size
from .training_case import SPECIAL_SYMBOLS

LOWEST = {"batch": 1, "length": 3, "vocab": SPECIAL_SYMBOLS + 1, "batches": 1}


def main(arguments: Sequence[str] | None = None, description: str | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64, help="samples of a batch (default: 64)")
    parser.add_argument("--length", type=int, default=128, help="tokens of a sample (default: 128)")
    parser.add_argument("--vocab", type=int, default=30522, help="symbols, specials included (default: 30522)")
    parser.add_argument("--batches", type=int, default=50, help="timed batches of each (default: 50)")
    options = parser.parse_args(arguments)
    return quiet_exit_status(lambda: run(options))


def run(options: argparse.Namespace) -> None:
    """Measure, and print a line for each and one for the ratio.

    Raises:
        UserError: an option is too small or too large, or the time too short
    """
    for name, least in LOWEST.items():
        require_size(name, getattr(options, name), least)
    records = measure_collation(options.vocab, options.batch, options.length, options.batches)
    for record in records:
        print_record(record)
    print_record({"fairseq_time_over_ours": round(fairseq_time_over_ours(*records), 2)})


def fairseq_time_over_ours(ours: Mapping[str, Any], fairseqs: Mapping[str, Any]) -> float:
    """The ratio of two records.

    Raises:
        UserError: our time is none
    """
    ours_ms, fairseqs_ms = (record["masking_and_collation_ms"] for record in (ours, fairseqs))
    if ours_ms <= 0:
        raise UserError(f"masking and collation took {ours_ms} ms, too little to measure; raise --batch or --length")
    return fairseqs_ms / ours_ms
