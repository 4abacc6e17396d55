"""How many test rows equal a training row, which a model could know by heart."""

import hashlib
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from evalbench.workloads.blocks import blocks
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.splits import Split

MIXING = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))
"""Shifts and factors of SplitMix64 (Steele, Lea and Flood 2014), which make each bit depend on all others."""
COUNTS: WeakKeyDictionary[Dataset, dict[str, dict[str, int]]] = WeakKeyDictionary()
"""By data set and hash of a split, while the data set lives: each look of an evaluation asks for them."""


def count_equal_rows(dataset: Dataset, split: Split) -> dict[str, int]:
    """Return the number of test rows, and how many of them equal a training row; count each split once.

    `inputs`: in all inputs, missing values being equal; `all`: in the target too. Rows are compared by hashes of 64
    bits, so memory is bounded by a hash for each row.
    """
    counts = COUNTS.setdefault(dataset, {})
    key = hashlib.sha256(split.train.tobytes() + b"|" + split.test.tobytes()).hexdigest()
    if key not in counts:
        counts[key] = _count(dataset, split)
    return counts[key]


def _count(dataset: Dataset, split: Split) -> dict[str, int]:
    (trained, trained_all), (tested, tested_all) = (_hashed(dataset, rows) for rows in (split.train, split.test))
    return {
        "test": len(tested),
        "inputs": int(np.isin(tested, trained).sum()),
        "all": int(np.isin(tested_all, trained_all).sum()),
    }


def _hashed(dataset: Dataset, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the hashes `(rows,)` of inputs, and of inputs and target."""
    parts = []
    for block in blocks(dataset.inputs, rows):
        inputs = block + 0  # a copy, without negative zero
        if inputs.dtype.kind == "f":
            inputs[np.isnan(inputs)] = np.nan  # in one way
        parts.append(_hash(inputs))
    hashes = np.concatenate(parts) if parts else np.zeros(0, np.uint64)
    targets = _hash(dataset.targets[rows].reshape(len(rows), -1))
    return hashes, _hash(np.stack([hashes, targets], axis=1))


def _hash(values: NDArray[np.generic]) -> NDArray[np.uint64]:
    """Return a hash `(N,)` of the bytes of each row of `(N, D)`."""
    row_bytes = np.ascontiguousarray(values).view(np.uint8)
    words = np.pad(row_bytes, ((0, 0), (0, -row_bytes.shape[1] % 8))).view(np.uint64)
    words += np.arange(1, words.shape[1] + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # each column its own
    for shift, factor in MIXING:
        words ^= words >> np.uint64(shift)
        words *= np.uint64(factor)
    hashes: NDArray[np.uint64] = words.sum(1, dtype=np.uint64)
    return hashes
