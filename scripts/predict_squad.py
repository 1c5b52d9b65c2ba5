#!/usr/bin/env python3
"""Answer the questions of a prepared split, and score the answers.

    python scripts/predict_squad.py checkpoints/squad/checkpoint_best.pt --data data-bin/squad \
        --output predictions.json --n-best-output n_best.json

Writes the official format, one text a question id, and prints exact match and F1 in percent, as one JSON object.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from fairseq_distil.data.exit_status import exit_status
from fairseq_distil.evaluation.answer_prediction import PredictionOptions, predict_answers, write_json


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    logging.getLogger("fairseq").setLevel(logging.WARNING)
    return exit_status(lambda: run(options))


def run(arguments: argparse.Namespace) -> None:
    dtype = None if arguments.autocast_dtype == "none" else getattr(torch, arguments.autocast_dtype)
    options = PredictionOptions(
        arguments.n_best,
        arguments.max_answer_tokens,
        arguments.batch_size,
        dtype,
        "cpu" if arguments.cpu or not torch.cuda.is_available() else "cuda",
    )
    predictions = predict_answers(arguments.checkpoint, arguments.data, arguments.split, options)
    if arguments.output is not None:
        write_json(predictions.answers(), arguments.output)
    if arguments.n_best_output is not None:
        write_json(predictions.n_best(), arguments.n_best_output)
    scores = {name: round(score, 3) for name, score in predictions.scores._asdict().items()}
    print(json.dumps({**scores, "questions": predictions.split.questions}))


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    default = PredictionOptions()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="fine-tuned with --task question_answering")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="what scripts/prepare_squad.py wrote")
    parser.add_argument("--split", default="valid", help="split to answer (default: valid)")
    parser.add_argument("--output", type=Path, metavar="JSON", help="predictions, in the official format")
    parser.add_argument("--n-best-output", type=Path, metavar="JSON", help="all candidates with their scores")
    parser.add_argument(
        "--n-best", type=int, default=default.n_best, help="candidates of a question (default: %(default)s)"
    )
    parser.add_argument(
        "--max-answer-tokens",
        type=int,
        default=default.max_answer_tokens,
        help="tokens of an answer at most (default: %(default)s)",
    )
    parser.add_argument("--batch-size", type=int, default=default.batch_size, help="windows (default: %(default)s)")
    parser.add_argument("--autocast-dtype", choices=["none", "bfloat16", "float16"], default="none")
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
