"""Options of the criterion ``distillation``."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import FairseqDataclass

from .terms import TERMS


@dataclass
class DistillationConfig(*(term.options for term in TERMS), FairseqDataclass):
    """The options of all terms. Defaults are the published objective (Sanh et al., 2019)."""

    schedules: Optional[str] = field(
        default=None,
        metadata={
            "help": "weights and soft_target_temperature that change over the updates, then stay: "
            "NAME=SHAPE:FIRST:LAST:UPDATES with the shape linear or cosine, or NAME=constant:VALUE, separated by "
            "commas; validation has the last values from the start, so that its losses can be compared"
        },
    )
