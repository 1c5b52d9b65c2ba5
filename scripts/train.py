#!/usr/bin/env python3
"""fairseq-train, or fairseq-hydra-train where a recipe is given, for the processes that torchrun starts.

    torchrun --nproc-per-node 8 scripts/train.py DATA --user-dir fairseq_distil ...
    torchrun --nproc-per-node 8 scripts/train.py --config-dir FOLDER --config-name RECIPE group.name=value ...
    ... scripts/train.py --sequences-per-update 4096 --batch-size 16 ...

All other arguments are fairseq's. It also works on CPUs, on machines with one GPU each, and outside of torchrun, for
one process. Only the first process logs.
"""

import os
import sys

if int(os.environ.get("RANK", 0)) > 0:
    os.environ["LOGLEVEL"] = "WARNING"
import fairseq_cli.train  # noqa: E402, F401  before all else: it sets where and what fairseq logs

from fairseq_distil.launcher import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(description=__doc__))
