"""How many test rows equal a training row, which a model could know by heart."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from evalbench.workloads.dataset import Dataset
from evalbench.workloads.splits import Split

BLOCK_NUMBERS = 2**22
"""Inputs that are read at once."""


def count_equal_rows(dataset: Dataset, split: Split) -> dict[str, int]:
    """Return the number of test rows, and how many of them equal a training row.

    `inputs`: in all inputs, missing values being equal; `all`: in the target too. Rows are compared by hashes of 64
    bits, so memory is bounded by a hash for each training row.
    """
    inputs, all_values = (set(hashes) for hashes in zip(*_hashed(dataset, split.train), strict=True))
    tested = list(_hashed(dataset, split.test))
    return {
        "test": len(tested),
        "inputs": sum(one in inputs for one, _ in tested),
        "all": sum(one in all_values for _, one in tested),
    }


def _hashed(dataset: Dataset, rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield the hash of each row's inputs, and that of its inputs and its target."""
    step = max(1, BLOCK_NUMBERS // dataset.inputs.shape[1])
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        inputs = np.ascontiguousarray(dataset.inputs[block]) + 0  # no negative zero
        if inputs.dtype.kind == "f":
            inputs[np.isnan(inputs)] = np.nan  # in one way
        targets = np.ascontiguousarray(dataset.targets[block])
        for row, target in zip(inputs, targets, strict=True):
            content = row.tobytes()
            yield hash(content), hash(content + target.tobytes())
