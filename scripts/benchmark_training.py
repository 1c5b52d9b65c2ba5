#!/usr/bin/env python3
"""How long a training step takes, how much memory it needs, and how far it is from the arithmetic limit.

    python scripts/benchmark_training.py --layers 12 --batch 16 --length 128
    python scripts/benchmark_training.py --dtype bfloat16 --peer "python transformers_loop.py --bf16"
    python scripts/benchmark_training.py --objective masked_lm --against roberta
    python scripts/benchmark_training.py --against fairseq-train
    python scripts/benchmark_training.py --sweep batch --sweep length=64,128,256 --plot cost.png
    python scripts/benchmark_training.py --cost-of-terms --dtype bfloat16
    python scripts/benchmark_training.py --curves 100 --layers 4 --width 64 --heads 4 --vocab 105 --length 16
    python scripts/benchmark_training.py --profile

Weights and ids are random; all else is what fairseq-train runs with this plugin. Prints one JSON object a line for each
measurement. A peer's command prints one too, last, with seconds_per_step and peak_mib; it and ours take turns, each in
a new process, and the last line has the median ratios, with the smallest and the largest.
"""

import sys

from fairseq_distil.benchmarks.training_command import main

if __name__ == "__main__":
    sys.exit(main(description=__doc__))
