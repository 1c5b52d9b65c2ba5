#!/usr/bin/env python3
"""Give a trained encoder to transformers or to ONNX Runtime.

    python scripts/export_checkpoint.py checkpoints/student/checkpoint_best.pt --data data-bin/x --output student
    python scripts/export_checkpoint.py student.pt --data data-bin/x --output student-onnx --format onnx --quantize int8

Writes config.json, the weights, the tokeniser's files and a model card with a snippet of use. AutoTokenizer and the
AutoModel class for the head load a directory of --format transformers as it is: AutoModelForMaskedLM,
...ForSequenceClassification or ...ForQuestionAnswering after fine-tuning, AutoModel for an encoder without a head. That
of --format onnx holds model.onnx, with inputs input_ids and attention_mask of any batch and length.

Before it reports success, it loads what it wrote and compares token ids and outputs on a few sentences: they differ by
at most 1e-5 (of the largest output). int8 weights are a quarter of the size: the cosine of their outputs with those of
float32 is at least 0.99, and at most a tenth of the first choices differ, or nothing is written.
"""

import argparse
import os
import sys
from pathlib import Path

import fairseq_distil  # noqa: F401  registers the parts
from fairseq_distil.checkpoints.export_checkpoint import FORMATS, ExportOptions, export_checkpoint
from fairseq_distil.checkpoints.export_transformers import ARCHITECTURES
from fairseq_distil.errors import UserError


def main() -> None:
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # transformers draws a bar for every file
    arguments = parse_arguments()
    options = ExportOptions(
        format=arguments.format,
        architecture=arguments.architecture,
        head=arguments.head,
        labels=arguments.labels.split(",") if arguments.labels else None,
        int8=arguments.quantize == "int8",
        report=arguments.report,
    )
    try:
        checked = export_checkpoint(arguments.checkpoint, arguments.data, arguments.output, options)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print("\n".join(checked))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="of a distil_encoder or a teacher_student")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="the data of its pre-training: dict.txt and the tokeniser's files, also of a checkpoint fine-tuned since",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new directory")
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="(default: transformers)")
    parser.add_argument(
        "--architecture",
        choices=list(ARCHITECTURES),
        help="whose class the result is (default: distilbert for a teacher_student and for a fine-tuned head, bert for "
        "another distil_encoder and where the LayerNorm epsilon is not DistilBERT's)",
    )
    parser.add_argument(
        "--head",
        metavar="NAME",
        help="masked-lm, question-answering, encoder (no head), or the name of a classification head (default: the "
        "fine-tuned head if there is exactly one, else masked-lm, else encoder)",
    )
    parser.add_argument("--labels", metavar="A,B", help="names of a classification head's classes, in their order")
    parser.add_argument("--quantize", choices=["int8"], help="for onnx: write model.int8.onnx beside model.onnx")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="report.md of scripts/evaluate.py, for the model card"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
