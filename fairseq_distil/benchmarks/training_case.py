"""What one measurement of training is of, and its command-line options."""

import argparse
from dataclasses import asdict, dataclass, fields

import numpy as np
import torch

from fairseq_distil.errors import UserError
from fairseq_distil.modules import cpu_has_bfloat16

from .additions import ADDED, TOP_K, Addition
from .device import default_device, require_device
from .sizes import require_size

SPECIAL_SYMBOLS = 5
"""``<s>``, ``<pad>``, ``</s>``, ``<unk>`` and ``<mask>``: the rest of a vocabulary is ordinary."""
MOST_PADDING = 0.45

CHOICES = {
    "added": tuple(ADDED),
    "dtype": ("float32", "bfloat16"),
    "positions": ("all", "masked"),
    "teacher_dtype": ("auto", "same", "float32", "bfloat16", "float16"),
    "objective": ("distillation", "masked_lm"),
    "encoder": ("distil_encoder", "roberta"),
    "loop": ("step", "fairseq-train"),
}
HELP = {
    "added": f"to the published objective: soft targets of the {TOP_K} likeliest words, those of the masked tokens, "
    f"with and without the cosine term, without it of the {TOP_K} likeliest words and stored, twice the masks, a "
    "second teacher, hidden states of every student layer by squared difference or by cosine, relations, as "
    "many as heads, of the last layers or of every student layer, a student with two thirds of the heads and the "
    "width, and its projection, or what either recommended recipe adds and leaves out",
    "layers": "layers of the teacher, the student has half; with masked_lm, of the encoder",
    "width": "width of the hidden states",
    "heads": "attention heads",
    "vocab": "symbols of the dictionary, specials included",
    "batch": "sequences of a step",
    "length": "tokens of a sequence, specials included",
    "padding": "part of a batch that is padding, at most 0.45: sequences as of lines, evenly from the longest down",
    "dtype": "type of the products that is asked for; computed_in tells what they were computed in",
    "positions": "tokens of the soft-target term",
    "steps": "timed steps, after 2 to warm up",
    "device": "cpu, cuda or cuda:N",
    "compile": "compile student and teacher",
    "teacher_dtype": "type of the teacher's weights; auto: --dtype where it is computed in; same: the student's",
    "objective": "distillation, or masked-LM pre-training of one encoder",
    "encoder": "with masked_lm: this plugin's encoder with fused_adamw, or fairseq's own with its adam",
    "loop": "the bare step, or the real fairseq-train, with its data loading, logging and checks",
}


@dataclass(frozen=True)
class TrainingCase:
    """Sizes and settings of one measurement; the defaults are BERT-base into 6 layers.

    Raises:
        UserError: a setting is out of its range, or two do not go together
    """

    layers: int = 12
    width: int = 768
    heads: int = 12
    vocab: int = 30522
    batch: int = 16
    length: int = 128
    padding: float = 0.0
    dtype: str = "float32"
    positions: str = "all"
    steps: int = 5
    device: str = "cpu"
    compile: bool = False
    teacher_dtype: str = "auto"
    objective: str = "distillation"
    encoder: str = "distil_encoder"
    loop: str = "step"
    added: str = "none"

    def __post_init__(self) -> None:
        require_device(self.device)
        lowest = {"layers": 2 if self.distils else 1, "width": 1, "heads": 1, "batch": 1, "length": 3, "steps": 1}
        for name, least in {**lowest, "vocab": SPECIAL_SYMBOLS + 1}.items():
            require_size(name, getattr(self, name), least)
        if not 0 <= self.padding <= MOST_PADDING:
            raise UserError(f"--padding is {self.padding}, but must be from 0 to {MOST_PADDING}")
        if self.padding and (self.batch < 2 or min(self.lengths) < 3):
            raise UserError(
                "--padding needs at least 2 sequences, none of less than 3 tokens; give a larger --batch or --length"
            )
        if self.padding and self.loop != "step":
            raise UserError("--padding is of the bare step; leave --loop out")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(f"--{name} is {getattr(self, name)}; choose from {', '.join(choices)}")
        if self.teacher_dtype not in ("auto", "same") and not self.distils:
            raise UserError("--teacher-dtype is of a teacher, which masked_lm has not; leave it out")
        if self.teacher_dtype == "auto":
            object.__setattr__(self, "teacher_dtype", self._type_of_products())
        if self.width % self.heads:
            raise UserError(f"--heads {self.heads} does not divide --width {self.width}")
        if self.positions == "masked" and not self.distils:
            raise UserError("--positions is of the soft-target term, which masked_lm has not; leave it out")
        if self.added != "none" and not self.distils:
            raise UserError("--added is to the objective of distillation, which masked_lm has not; leave it out")
        for name, least in {"heads": self.addition.least_heads, "vocab": self.addition.least_vocab}.items():
            if getattr(self, name) < least:
                raise UserError(f"--added {self.added} needs at least {least} --{name}, found {getattr(self, name)}")
        if self.encoder == "roberta" and self.distils:
            raise UserError("--encoder roberta cannot be distilled; add --objective masked_lm")
        if self.encoder == "roberta" and (self.compile or self.teacher_dtype != "same"):
            raise UserError("--encoder roberta has neither --compile nor --teacher-dtype; leave them out")

    def _type_of_products(self) -> str:
        computes_in_it = self.device_type != "cpu" or cpu_has_bfloat16()
        return "bfloat16" if self.distils and self.dtype == "bfloat16" and computes_in_it else "same"

    @property
    def distils(self) -> bool:
        return self.objective == "distillation"

    @property
    def addition(self) -> Addition:
        return ADDED[self.added]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each sequence of a batch, specials included."""
        shortest = self.length * (1 - 2 * self.padding)
        return np.linspace(self.length, shortest, self.batch).round().astype(int).tolist()

    @property
    def student_layers(self) -> int:
        """Layers of what trains."""
        return self.layers // 2 if self.distils else self.layers

    @property
    def student_heads(self) -> int:
        """Attention heads of what trains, as wide as the teacher's."""
        return max(1, int(self.heads * self.addition.student_part))

    @property
    def student_width(self) -> int:
        """Width of what trains."""
        return self.width // self.heads * self.student_heads

    @property
    def device_type(self) -> str:
        return torch.device(self.device).type

    def options(self) -> list[str]:
        """The command-line options that describe this case."""
        given = []
        for name, value in asdict(self).items():
            option = f"--{name.replace('_', '-')}"
            if isinstance(value, bool):
                given += [option] * value
            else:
                given += [option, str(value)]
        return given


def add_case_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field of :class:`TrainingCase`."""
    for field in fields(TrainingCase):
        default = default_device() if field.name == "device" else field.default
        option, help_text = f"--{field.name.replace('_', '-')}", HELP[field.name]
        if field.type is bool:
            parser.add_argument(option, action="store_true", help=help_text)
            continue
        parser.add_argument(
            option,
            type=field.type,
            default=default,
            choices=CHOICES.get(field.name),
            help=f"{help_text} (default: %(default)s)",
        )


def case_from(arguments: argparse.Namespace) -> TrainingCase:
    """The case that the options describe.

    Raises:
        UserError: see :class:`TrainingCase`
    """
    return TrainingCase(**{field.name: getattr(arguments, field.name) for field in fields(TrainingCase)})
