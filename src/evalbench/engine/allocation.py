"""Let the C library keep the memory of large tensors from step to step.

By default it returns each large block to the system when it is freed, and gets it back in pages that are cleared one by
one. A step on large tensors spends up to half of its time on that. Torch has no setting for it on the CPU.
See https://man7.org/linux/man-pages/man3/mallopt.3.html.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT_BYTES = 2**31 - 2**20
"""The bytes that may be kept."""
LARGEST_BLOCK = 2**30
"""The bytes of a block above which it is still returned at once."""


@contextmanager
def kept() -> Iterator[None]:
    """Keep freed memory while a cohort trains, then return it to the system; do nothing without the GNU C library."""
    library = _library()
    if library is None:
        yield
        return
    library.mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK)
    library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    try:
        yield
    finally:
        library.malloc_trim(0)


@cache
def _library() -> Any:
    """Return the GNU C library, or None."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL("libc.so.6")
        _ = library.gnu_get_libc_version, library.mallopt, library.malloc_trim
    except (OSError, AttributeError):
        return None
    return library
