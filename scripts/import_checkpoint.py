#!/usr/bin/env python3
"""Make a teacher of a BERT, RoBERTa, XLM-R, CamemBERT or DistilBERT.

    python scripts/import_checkpoint.py bert-base-uncased/ --output teacher.pt --data data-bin/corpus

SOURCE is a directory that save_pretrained of transformers wrote (config.json, model.safetensors, the tokeniser's
files), or a fairseq RoBERTa checkpoint with its dict.txt beside it. The vocabulary is brought to the order of the
data's dictionary, symbol by symbol. fairseq-train takes SOURCE as --teacher as well, without this.
"""

import argparse
import sys
from pathlib import Path

import fairseq_distil  # noqa: F401  registers the parts
from fairseq_distil.checkpoints.import_checkpoint import import_checkpoint
from fairseq_distil.checkpoints.plugin_checkpoint import write_checkpoint
from fairseq_distil.errors import UserError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="directory or checkpoint to read")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="checkpoint to write")
    order = parser.add_mutually_exclusive_group()
    order.add_argument("--data", type=Path, metavar="DIR", help="prepared data that the teacher is for")
    order.add_argument(
        "--dictionary", type=Path, metavar="FILE", help="dict.txt of that data (default: SOURCE's order)"
    )
    arguments = parser.parse_args()
    try:
        if arguments.output.exists():
            raise UserError(f"{arguments.output}: exists already; remove it, or choose another output")
        checkpoint = import_checkpoint(arguments.source, arguments.dictionary, arguments.data)
        write_checkpoint(checkpoint, arguments.output)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    parameters = sum(tensor.numel() for tensor in checkpoint["model"].values())
    sizes = checkpoint["cfg"]["model"]
    print(
        f"{arguments.output}: {sizes['encoder_layers']} layers of width {sizes['encoder_embed_dim']}, "
        f"{len(checkpoint['task_state']['dictionary_symbols']):,} symbols, {parameters:,} parameters"
    )


if __name__ == "__main__":
    main()
