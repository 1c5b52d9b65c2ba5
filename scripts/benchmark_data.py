#!/usr/bin/env python3
"""How long masking and collating a batch takes, beside fairseq's own masked-LM task on the same random data.

    python scripts/benchmark_data.py --batch 64 --length 128

Prints one JSON object a line. The two take turns; masking_and_collation_ms is without reading the samples.
"""

import sys

from fairseq_distil.benchmarks.data_command import main

if __name__ == "__main__":
    sys.exit(main(description=__doc__))
