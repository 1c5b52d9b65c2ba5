#!/usr/bin/env python3
"""Labelled texts, or pairs of texts, to what fairseq's task sentence_prediction trains from.

python scripts/prepare_glue.py --task RTE --input GLUE/RTE --data data-bin/mine --output data-bin/rte
python scripts/prepare_glue.py --train reviews.tsv --valid dev.tsv --data data-bin/mine --output data-bin/reviews
"""

import sys

from fairseq_distil.data.labelled.prepare_command import main

if __name__ == "__main__":
    sys.exit(main())
