"""Arrays in blocks of rows, so that one in a file is never in memory as a whole."""

import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_NUMBERS = 2**24
"""Numbers of a block, 128 MiB in float64."""


def blocks(array: NDArray[Any], rows: NDArray[np.int64] | None = None) -> Iterator[NDArray[Any]]:
    """Yield an array `(N, …)`, or some rows of it, in blocks of rows."""
    count = max(1, BLOCK_NUMBERS // max(1, array[:1].size))
    for first in range(0, len(array) if rows is None else len(rows), count):
        part = slice(first, first + count)
        yield array[part] if rows is None else array[rows[part]]


def taken(array: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return some rows of an array, those of an array in a file in an unnamed file of the system's temporary folder."""
    if not isinstance(array, np.memmap):
        return array[rows]
    if np.array_equal(rows, np.arange(len(array))):
        return array
    with tempfile.TemporaryFile() as file:
        for block in blocks(array, rows):
            block.tofile(file)
        file.flush()
        return np.memmap(file, array.dtype, "c", shape=(len(rows), *array.shape[1:]))
