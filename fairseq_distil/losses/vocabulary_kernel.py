"""The sums of both vocabulary terms and their gradient in one Triton kernel, for GPUs.

What :func:`replace_by_gradient` does in some twenty passes over a tile, this does in one reading of each row from
memory, one or two from the cache, and one writing. It needs ``triton``, which torch's builds for GPUs bring along.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .vocabulary_tile import TermScales

COLUMNS_AT_A_TIME = 4096
WARPS = 8


def replace_rows_by_gradient(
    student_logits: Tensor,
    teacher_logits: Tensor | None,
    targets: Tensor,
    scales: TermScales,
    needs_gradient: bool,
) -> Tensor:
    """What :func:`replace_by_gradient` means, for one teacher or none and without ``top_k``. Same arguments and result.

    Logits may be of any type of at most four bytes, and are computed in float32. Those of the teacher are kept, and
    without a gradient the student's. Each row is contiguous, and those of the teacher are as far apart as the
    student's; what is between the student's must be their padding, for it becomes 0.
    """
    rows, vocabulary_size = student_logits.shape
    has_teacher = teacher_logits is not None
    unit = scales.gradient_unit(has_teacher)
    sums = torch.empty(rows, 4, device=student_logits.device)
    with torch.cuda.device_of(student_logits):
        _row_by_gradient[(rows,)](
            student_logits,
            teacher_logits,
            targets.contiguous(),
            sums,
            vocabulary_size,
            student_logits.stride(0),
            targets.numel(),
            scales.temperature,
            scales.soft_target_factor / unit,
            scales.mlm / unit,
            HAS_TEACHER=has_teacher,
            NEEDS_GRADIENT=needs_gradient,
            COLUMNS=min(COLUMNS_AT_A_TIME, triton.next_power_of_2(vocabulary_size)),
            num_warps=WARPS,
        )
    return sums.sum(0)


@triton.jit(do_not_specialize=["masked_rows"])
def _row_by_gradient(
    student,
    teacher,
    targets,
    sums,
    vocabulary_size,
    row_size,
    masked_rows,
    temperature,
    soft_target_factor,
    mlm_factor,
    HAS_TEACHER: tl.constexpr,
    NEEDS_GRADIENT: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    student += row * row_size
    is_masked = row < masked_rows
    target = tl.load(targets + row, mask=is_masked, other=0)
    target_logit = tl.load(student + target).to(tl.float32)  # before it becomes a gradient
    first_choice, largest, mlm_total = 0, 0.0, 1.0
    if is_masked:
        first_choice, largest, mlm_total = _normalizer(student, vocabulary_size, row_size, 1.0, COLUMNS)
    agrees, teacher_largest, total, teacher_total = False, 0.0, 1.0, 1.0
    if HAS_TEACHER:
        teacher += row * row_size
        _, largest, total = _normalizer(student, vocabulary_size, row_size, temperature, COLUMNS)
        teacher_choice, teacher_largest, teacher_total = _normalizer(
            teacher, vocabulary_size, row_size, temperature, COLUMNS
        )
        agrees = teacher_choice == first_choice

    difference = 0.0  # of log p_teacher and log p_student, without their normalizers, times the temperature
    if HAS_TEACHER or NEEDS_GRADIENT:
        for start in range(0, row_size, COLUMNS):
            columns = start + tl.arange(0, COLUMNS)
            is_word, is_here = columns < vocabulary_size, columns < row_size
            logits = tl.load(student + columns, mask=is_here, other=0.0).to(tl.float32) - largest
            gradient = tl.zeros([COLUMNS], dtype=tl.float32)
            if HAS_TEACHER:
                teacher_logits = tl.load(teacher + columns, mask=is_here, other=0.0).to(tl.float32) - teacher_largest
                probabilities = tl.exp(logits / temperature) / total
                teacher_probabilities = tl.exp(teacher_logits / temperature) / teacher_total
                difference += tl.sum(tl.where(is_word, teacher_probabilities * (teacher_logits - logits), 0.0), 0)
                gradient = soft_target_factor * (probabilities - teacher_probabilities)
            if NEEDS_GRADIENT:
                if is_masked:
                    gradient += mlm_factor * (tl.exp(logits) / mlm_total - tl.where(columns == target, 1.0, 0.0))
                gradient = tl.where(is_word, gradient, 0.0).to(student.dtype.element_ty)
                tl.store(student + columns, gradient, mask=is_here)

    divergence = 0.0
    if HAS_TEACHER:
        divergence = difference / temperature + tl.log(total) - tl.log(teacher_total)
    sums += 4 * row
    tl.store(sums, temperature * temperature * divergence)
    tl.store(sums + 1, tl.where(is_masked, (largest - target_logit) + tl.log(mlm_total), 0.0))
    tl.store(sums + 2, (is_masked & (first_choice == target)).to(tl.float32))
    tl.store(sums + 3, (is_masked & agrees).to(tl.float32))


@triton.jit
def _normalizer(logits, vocabulary_size, row_size, temperature, COLUMNS: tl.constexpr):
    """The first choice, the largest logit, and the sum of ``exp((logit - largest) / temperature)``."""
    first_choice, largest, total = 0, -float("inf"), 0.0
    for start in range(0, vocabulary_size, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        # Whole vectors are loaded where the rows are padded to a multiple of their size.
        block = tl.load(logits + columns, mask=columns < row_size, other=0.0).to(tl.float32)
        block = tl.where(columns < vocabulary_size, block, -float("inf"))
        block_largest, block_choice = tl.max(block, 0, return_indices=True)
        first_choice = tl.where(block_largest > largest, start + block_choice, first_choice)
        new_largest = tl.maximum(largest, block_largest)
        subtracted = tl.where(new_largest == -float("inf"), 0.0, new_largest)  # where no word so far is possible
        total = total * tl.exp((largest - subtracted) / temperature)
        total += tl.sum(tl.exp((block - subtracted) / temperature), 0)
        largest = new_largest
    return first_choice, largest, total
