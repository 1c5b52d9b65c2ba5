#!/usr/bin/env python3
"""Give a trained encoder to transformers.

    python scripts/export_checkpoint.py checkpoints/student/checkpoint_best.pt --data data-bin/x --output student

Writes config.json, model.safetensors, the tokeniser's files and a model card; AutoModelForMaskedLM, AutoTokenizer and
pipeline("fill-mask") load the directory as it is. Before it reports success, it loads the directory with transformers
and compares token ids and logits on a few sentences.
"""

import argparse
import sys
from pathlib import Path

from fairseq_distil.checkpoints.export_checkpoint import export_checkpoint
from fairseq_distil.checkpoints.export_transformers import ARCHITECTURES
from fairseq_distil.errors import UserError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="of a distil_encoder or a teacher_student")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the data that it was trained on")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new directory")
    parser.add_argument(
        "--architecture",
        choices=list(ARCHITECTURES),
        default="distilbert",
        help="whose ...ForMaskedLM the result is (default: distilbert)",
    )
    parser.add_argument("--format", choices=["transformers"], default="transformers", help="(default: transformers)")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="report.md of scripts/evaluate.py, for the model card"
    )
    arguments = parser.parse_args()
    try:
        difference = export_checkpoint(
            arguments.checkpoint, arguments.data, arguments.output, arguments.architecture, arguments.report
        )
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(
        f"{arguments.output}: transformers loads it, with the same ids and logits (largest difference {difference:.1e})"
    )


if __name__ == "__main__":
    main()
