"""What scripts/benchmark_training.py does with its options."""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fairseq_distil.errors import UserError

from .additions import ADDED
from .curves import print_curves, require_suitable
from .device import synchronize, use_device
from .exit_status import quiet_exit_status
from .fairseq_train import measure_fairseq_train
from .memory_needed import require_memory
from .pairs import alternate, run_for_record, summary
from .printed_record import print_record
from .random_data import write_random_data
from .stages import STAGES, StageClock, watch
from .step_profile import markdown, profile_step
from .sweep import parse_sweep, sweep_cases
from .term_costs import cost_summary, take_turns
from .training_case import TrainingCase, add_case_options, case_from
from .training_measure import WARM_UP_STEPS, measure_step
from .training_parts import build_parts
from .training_step import TrainingStep

AGAINST = {
    "roberta": {"encoder": "roberta", "compile": False, "teacher_dtype": "same"},
    "fairseq-train": {"loop": "fairseq-train"},
}
"""What the other one of a pair does differently."""
PAIRS = 5
PEER_TIMEOUT = 1800.0
LONGEST_PEER_TIMEOUT = 1_000_000
"""In seconds, of one turn."""


def parse_options(arguments: Sequence[str] | None, description: str | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_case_options(parser)
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--peer", metavar="CMD", help="whole command of a peer, which takes turns with ours")
    modes.add_argument("--against", choices=AGAINST, help="take turns with fairseq's own, of the same sizes")
    modes.add_argument(
        "--sweep", action="append", metavar="NAME", help="batch, length, vocab or layers, or NAME=VALUE,VALUE; repeat"
    )
    modes.add_argument(
        "--cost-of-terms", action="store_true", help="take turns with every --added; percent of the step"
    )
    modes.add_argument(
        "--curves", type=int, metavar="UPDATES", help="losses with the fast paths and without any, in both types"
    )
    modes.add_argument("--profile", action="store_true", help="where the time goes: by stage and kind of work")
    parser.add_argument(
        "--pairs", type=int, help=f"turns of each with --peer, --against or --cost-of-terms (default: {PAIRS})"
    )
    parser.add_argument(
        "--peer-timeout", type=float, metavar="SECONDS", help=f"for one turn of a --peer (default: {PEER_TIMEOUT:g})"
    )
    parser.add_argument("--plot", type=Path, metavar="PNG", help="with --sweep or --curves: plot to write")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None, description: str | None = None) -> int:
    """Run the command; returns its exit status."""
    options = parse_options(arguments, description)
    return quiet_exit_status(lambda: run(options))


def run(options: argparse.Namespace) -> None:
    """Measure what the options ask for, and print it.

    Raises:
        UserError: the options do not go together, or what they ask for cannot be measured
    """
    case = case_from(options)
    is_compared = options.peer is not None or options.against is not None
    if options.pairs is not None and not (is_compared or options.cost_of_terms):
        raise UserError(
            "--pairs are turns with --peer, --against or --cost-of-terms; add one of them, or leave --pairs out"
        )
    if options.pairs is not None and options.pairs < 1:
        raise UserError(f"--pairs is {options.pairs}, but must be at least 1")
    if options.peer_timeout is not None:
        if options.peer is None:
            raise UserError("--peer-timeout is for the turns of a --peer; add one, or leave --peer-timeout out")
        if not 0 < options.peer_timeout <= LONGEST_PEER_TIMEOUT:
            raise UserError(
                f"--peer-timeout is {options.peer_timeout:g}, but must be seconds, more than 0, at most "
                f"{LONGEST_PEER_TIMEOUT:,}"
            )
    if options.curves is not None:
        require_suitable(case, options.curves)
    if options.plot is not None:
        is_drawn = options.sweep and case.loop == "step" and case.added == "none"
        if not is_drawn and options.curves is None:
            raise UserError(
                "--plot draws --curves, or what --sweep measures of the bare step, nothing --added; add one of them, "
                "or leave --plot out"
            )
        _require_writable(options.plot)
    if not options.sweep:  # of which each case is checked where it is measured
        require_memory(case)
    if is_compared:
        _compare(case, options)
    elif options.cost_of_terms:
        _print_cost_of_terms(case, PAIRS if options.pairs is None else options.pairs)
    elif options.sweep:
        _sweep(case, options)
    elif options.curves is not None:
        print_curves(case, options.curves, options.plot)
    elif options.profile:
        _profile(case)
    else:
        print_record(measure_fairseq_train(case) if case.loop == "fairseq-train" else measure_step(case))


def _require_writable(plot: Path) -> None:
    """Before the measurements, which take minutes."""
    try:
        if plot.is_dir():
            raise IsADirectoryError("it is a directory")
        plot.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=plot.parent):
            pass
    except OSError as error:
        raise UserError(f"--plot {plot}: cannot be written: {error.strerror or error}") from error


def _peer_command(text: str) -> list[str]:
    try:
        command = shlex.split(text)
    except ValueError as error:
        raise UserError(f"--peer {text}: {error}") from error
    if not command:
        raise UserError("--peer is empty; give the whole command of a peer")
    return command


def _compare(case: TrainingCase, options: argparse.Namespace) -> None:
    seconds = None
    if options.peer is not None:
        other = _peer_command(options.peer)
        seconds = PEER_TIMEOUT if options.peer_timeout is None else options.peer_timeout
    else:
        different = replace(case, **AGAINST[options.against])
        if different == case:
            raise UserError(f"--against {options.against} is what is measured already; leave one of the two out")
        other = _command(different)
    records, pairs = [], PAIRS if options.pairs is None else options.pairs
    for pair in alternate(_command(case), other, pairs, seconds):
        records.append(pair)
        for record in pair:
            print_record(record)
        ratio = pair[1]["seconds_per_step"] / pair[0]["seconds_per_step"]
        print(f"pair {len(records)} of {pairs}: other's time / ours {ratio:.3f}", file=sys.stderr, flush=True)
    print_record(summary(records))


def _print_cost_of_terms(case: TrainingCase, turns: int) -> None:
    if not case.distils:
        raise UserError("--cost-of-terms is of the terms of distillation; leave --objective masked_lm out")
    cases = {name: replace(case, added=name) for name in ADDED}
    measured = []

    def measure(name: str) -> dict[str, Any]:
        record = run_for_record(_command(cases[name]))
        print_record(record)
        return record

    for records in take_turns(measure, turns):
        measured.append(records)
        print(f"turn {len(measured)} of {turns}", file=sys.stderr, flush=True)
    print_record(cost_summary(measured))


def _sweep(case: TrainingCase, options: argparse.Namespace) -> None:
    """Measure each case in a process of its own, so that one which fails leaves the others."""
    sweeps: dict[str, list[dict[str, Any]]] = {}
    parsed = [parse_sweep(text) for text in options.sweep]
    cases = {name: sweep_cases(case, name, values) for name, values in parsed}
    if len(cases) < len(parsed):
        raise UserError(f"--sweep names must differ, found {', '.join(name for name, _ in parsed)}")
    for name, cases_of_sweep in cases.items():
        sweeps[name] = []
        for one in cases_of_sweep:
            try:
                record = run_for_record(_command(one))
            except UserError as error:
                print_record({"sweep": name, name: getattr(one, name), "failed": str(error)})
            else:
                sweeps[name].append(record)
                print_record({"sweep": name, **record})
    measured = {name: records for name, records in sweeps.items() if records}
    if not measured:
        raise UserError("none of the cases could be measured; each line above says why")
    if options.plot is not None:
        from .cost_plot import draw  # here, for matplotlib would add to the memory that is measured

        draw(measured, options.plot)


def _profile(case: TrainingCase) -> None:
    if case.loop != "step":
        raise UserError("--profile is of the bare step; leave --loop out")
    use_device(case.device)
    clock = StageClock(partial(synchronize, case.device))
    with tempfile.TemporaryDirectory() as directory:
        write_random_data(Path(directory), case.vocab, case.lengths, case.batch * (WARM_UP_STEPS + case.steps + 1))
        parts = build_parts(case, Path(directory))
        step = TrainingStep(watch(parts, clock), case, clock)
        for _ in range(WARM_UP_STEPS):
            step()
        clock.seconds.clear()
        for _ in range(case.steps):
            step()
        stages = {name: round(clock.seconds[name] / case.steps, 4) for name in STAGES if name in clock.seconds}
        print_record({"stages": stages, "sum": round(sum(stages.values()), 4), "computed_in": str(step.computed_in)})
        models = [parts.model, *getattr(parts.model, "teachers", ())]
        print(markdown(profile_step(step, [] if case.compile else models, case.device_type == "cuda")))


def _command(case: TrainingCase) -> list[str]:
    return [sys.executable, "-m", __name__ if __name__ != "__main__" else __spec__.name, *case.options()]


if __name__ == "__main__":
    sys.exit(main())
