"""Whether a step can fit at all, before minutes are spent on one that cannot."""

import os

import torch

from fairseq_distil.errors import UserError

from .training_case import TrainingCase

BYTES_OF_TRAINED_WEIGHT = 16
"""Weight, gradient and two moments, all in float32."""
BYTES_OF_TEACHER_WEIGHT = 2
STATES_OF_LAYER = 12
"""Hidden states that a layer keeps for its backward, at least: what goes into each product, 2 bytes an element."""
BYTES_OF_SCORE = 7
"""Of attention in steps, which pads again, see docs/performance.md."""


def least_bytes(case: TrainingCase) -> int:
    """What a step needs at least, which is less than it really takes."""
    tokens = int(case.batch * case.length * (1 - case.padding))
    trained = _weights(case.student_layers, case.student_width, case.vocab)
    needed = BYTES_OF_TRAINED_WEIGHT * trained
    if case.distils:
        teacher = _weights(case.layers, case.width, case.vocab)
        needed += BYTES_OF_TEACHER_WEIGHT * case.addition.teachers * teacher
    needed += 2 * STATES_OF_LAYER * tokens * case.student_width * case.student_layers
    if case.device_type == "cpu" and not case.compile:
        needed += BYTES_OF_SCORE * case.batch * case.length**2 * case.student_heads * case.student_layers
    return needed


def require_memory(case: TrainingCase) -> None:
    """Raise a UserError if the machine, or its GPU, has less memory than a step needs, or its ids need."""
    ids = 8 * case.batch * case.length * case.steps  # of random data, on their way to a file
    for where, needed, there in (
        (case.device, least_bytes(case), _memory(case)),
        ("the ids of --steps", ids, _memory_of_machine()),
    ):
        if needed > there:
            raise UserError(
                f"needs at least {needed / 2**30:,.1f} GiB ({where}), of {there / 2**30:,.1f}: --batch {case.batch}, "
                f"--length {case.length}, --vocab {case.vocab}, --layers {case.layers}, --width {case.width}, --steps "
                f"{case.steps}; give smaller sizes"
            )


def _weights(layers: int, width: int, vocab: int) -> int:
    return width * (12 * layers * width + vocab)


def _memory(case: TrainingCase) -> int:
    if case.device_type == "cuda":
        return torch.cuda.get_device_properties(case.device).total_memory
    return _memory_of_machine()


def _memory_of_machine() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
