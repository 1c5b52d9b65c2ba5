"""DistilBERT for fairseq: registered models, tasks and criterions that distil a BERT-style encoder.

Use it with ``--user-dir fairseq_distil``, or import it.
"""

import argparse
import logging

import torch

# Importing fairseq, its text-to-speech task recommends a package that nothing here needs.
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)

from . import criterions, models, optim, tasks  # noqa: E402
from .checkpoints.atomic_copy import make_checkpoint_copies_atomic  # noqa: E402
from .errors import UserError, show_user_errors_in_one_line  # noqa: E402

# fairseq stores parts of its configuration as Namespaces; with this, torch's safe loading accepts its checkpoints.
torch.serialization.add_safe_globals([argparse.Namespace])
make_checkpoint_copies_atomic()
show_user_errors_in_one_line()

__all__ = ["UserError", "criterions", "models", "optim", "tasks"]
