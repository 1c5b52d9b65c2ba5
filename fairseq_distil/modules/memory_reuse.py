"""Large tensors on CPUs, whose memory a C library would return to the system at every release."""

import ctypes
from functools import cache

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
TOP_PAD_BYTES = 256 * 2**20


@cache
def keep_released_memory() -> bool:
    """Have glibc keep the memory that tensors release, for the next ones.

    By default each large tensor is mapped anew, and its pages are cleared one fault at a time: a fifth of a training
    step of BERT-base. The process then holds its peak until it ends.

    Returns:
        whether the C library is one that could be told so
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return False
    settings = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_TOP_PAD: TOP_PAD_BYTES}
    return all([mallopt(name, value) == 1 for name, value in settings.items()])
