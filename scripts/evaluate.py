#!/usr/bin/env python3
"""Compare encoders: size, speed, and masked-LM quality or what fine-tuning makes of them.

    python scripts/evaluate.py --model teacher=checkpoints/teacher/checkpoint_best.pt \
        --model student=checkpoints/student/checkpoint_best.pt --data data-bin/x --output report

compares masked-LM quality, and what the models fill in for a mask; the first is whom the others should agree with.
A GPU is used where there is one; with CUDA_VISIBLE_DEVICES= it is not.

    python scripts/evaluate.py --model teacher=teacher.pt --model student=student.pt --model baseline=baseline.pt \
        --glue GLUE --squad SQuAD --tasks RTE,STS-B,SQuAD --seeds 5 --output report

fine-tunes each on each task with each seed, and reports medians and the part of the first model's average that the
others keep; --own NAME=DIR adds a data set of your own, and --model 'student=seed{seed}/student.pt' a model that was
itself trained with each seed. --distil student_D=student.pt adds one that learns from the fine-tuned first model while
it is fine-tuned, as the paper's DistilBERT (D). Interrupted, it goes on with the same command. Prints the tables, and
writes them to the output directory as report.md and report.json, of fine-tuning also as report.png.
"""

import argparse
import logging
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

logging.basicConfig(level=logging.WARNING)  # before fairseq, which would show all that it and others log

from fairseq_distil.checkpoints.transformers_directory import CONFIG_FILE  # noqa: E402
from fairseq_distil.errors import UserError  # noqa: E402
from fairseq_distil.evaluation import compare  # noqa: E402
from fairseq_distil.evaluation.report import markdown, write_report  # noqa: E402
from fairseq_distil.evaluation.retention import (  # noqa: E402
    Comparison,
    default_jobs,
    find_tasks,
    measure_retention,
    of_seed,
    overrides_of,
    own_task,
)
from fairseq_distil.exit_status import exit_status  # noqa: E402


def named_path(text: str) -> tuple[str, Path]:
    """Read ``NAME=PATH``."""
    name, separator, path = text.partition("=")
    if not (name and separator and path) or "/" in name or name.startswith("."):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH")
    return name, Path(path)


def main() -> int:
    options = parse_options()
    for name in ("fairseq", "tensorboard"):  # importing fairseq makes them tell everything
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="'pin_memory' argument")  # fairseq sets it without a GPU too
    return exit_status(lambda: print(run(options)), when_interrupted="the same command goes on from here")


def run(options: argparse.Namespace) -> str:
    names = [name for name, _ in options.model + options.distil]
    if len(set(names)) < len(names):
        raise UserError(f"--model and --distil names must differ, found {', '.join(names)}")
    if options.glue or options.squad or options.own or options.tasks:
        return compare_on_tasks(options)
    if options.distil:
        raise UserError("--distil is for fine-tuning; give --glue, --squad or --own")
    require_models("--model", options.model)
    if options.data is None:
        raise UserError("give --data, to compare masked-LM quality, or --glue, --squad or --own, to fine-tune")
    reports = compare(dict(options.model), options.data, options.split, options.sentence, options.batch_size)
    if options.output is not None:
        write_report(reports, options.output)
    return markdown(reports)


def require_models(option: str, models: Iterable[tuple[str, Path]]) -> None:
    for name, path in models:
        if not (path.is_file() or (path / CONFIG_FILE).is_file()):
            raise UserError(
                f"{option} {name}={path}: no such file; give {option} NAME=PATH a checkpoint, or for fine-tuning a "
                f"directory of transformers with its {CONFIG_FILE}"
            )


def compare_on_tasks(options: argparse.Namespace) -> str:
    if options.output is None:
        raise UserError("fine-tuning needs --output, a directory for its runs and the report")
    for name in ("seeds", "jobs"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} is {getattr(options, name)}, but must be at least 1")
    for seed in range(1, options.seeds + 1):
        for option, models in (("--model", options.model), ("--distil", options.distil)):
            require_models(option, ((name, of_seed(path, seed)) for name, path in models))
    names = options.tasks.split(",") if options.tasks else None
    own = [own_task(name, path, overrides_of(name, options.override)) for name, path in options.own]
    if len({task.name for task in own}) < len(own):
        raise UserError(f"--own names must differ, found {', '.join(task.name for task in own)}")
    return measure_retention(
        Comparison(
            models=dict(options.model),
            distilled=dict(options.distil),
            tasks=find_tasks(options.glue, options.squad, names, own),
            glue=options.glue,
            squad=options.squad,
            data=options.data,
            seeds=options.seeds,
            at_a_time=options.jobs,
            overrides=tuple(options.override),
            output=options.output,
        )
    )


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=named_path, action="append", required=True, metavar="NAME=PATH")
    parser.add_argument(
        "--data", type=Path, metavar="DIR",
        help="binarised data that the models were trained on (fine-tuning: by default as the first checkpoint says)",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="DIR", help="directory for the report, and for fine-tuning")
    masked_lm = parser.add_argument_group("masked-LM quality")
    masked_lm.add_argument("--split", default="valid", help="split to evaluate (default: valid)")
    masked_lm.add_argument("--sentence", action="append", default=[], help="a sentence with one <mask> to fill in")
    masked_lm.add_argument("--batch-size", type=int, default=32, help="sequences of a batch (default: 32)")
    tasks = parser.add_argument_group("fine-tuning")
    tasks.add_argument(
        "--distil", type=named_path, action="append", default=[], metavar="NAME=PATH",
        help="a model that learns from the first --model, fine-tuned with the same seed, while it is fine-tuned",
    )  # fmt: skip
    tasks.add_argument("--glue", type=Path, metavar="DIR", help="official files of GLUE, a directory a task")
    tasks.add_argument("--squad", type=Path, metavar="DIR", help="official files of SQuAD v1.1, train*.json, dev*.json")
    tasks.add_argument(
        "--own", type=named_path, action="append", default=[], metavar="NAME=DIR",
        help="a data set of your own that scripts/prepare_glue.py prepared; as many as you like",
    )  # fmt: skip
    tasks.add_argument("--tasks", metavar="A,B", help="such as RTE,SQuAD (default: all that are there)")
    tasks.add_argument("--seeds", type=int, default=5, metavar="N", help="runs of each (default: 5)")
    tasks.add_argument(
        "--jobs", type=int, default=default_jobs(), metavar="N", help="runs side by side (default here: %(default)s)"
    )
    tasks.add_argument(
        "--override", action="append", default=[], metavar="[TASK:]KEY=VALUE",
        help="setting to change of all recipes (examples/glue, examples/squad), such as optimization.lr=[2e-4], or of "
        "one, such as SQuAD:optimization.max_update=500",
    )  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
